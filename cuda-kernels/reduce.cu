// Largest numbers and squared errors of groups, sums of rows. No atomics: the same numbers give the same bits.
#include "rows.cuh"

namespace reduce {

// The larger one; NaN if either is.
__device__ __forceinline__ float larger(float a, float b) {
    return a > b || a != a ? a : b;
}

// Where number i of a group is in [outer, groups, inner]; a group has `count` numbers.
__device__ __forceinline__ long long place(long long i, long long group, long long groups, long long inner, long long count) {
    if (groups == 1) {
        return i;
    }
    long long o = count <= 0xffffffffll ? (unsigned) i / (unsigned) inner : i / inner;
    return (o * groups + group) * inner + (i - o * inner);
}

}  // namespace reduce

// largest[group, part] = max of x[:, group, :], or of its magnitudes; NaN if there is one. x is [outer, groups, inner],
// dense.
// Launch: parts blocks in x, groups in y, 8 warps each; each takes a share of the group.
KERNEL reduce_maxima_f32(const float* x, float* largest, long long outer, long long groups, long long inner,
                                             int absolute, int parts) {
    __shared__ float of_warps[32];
    float found = -INFINITY;
    long long group = blockIdx.y;
    long long count = outer * inner;
    for (long long i = grid_thread(); i < count; i += grid_threads()) {
        float value = x[reduce::place(i, group, groups, inner, count)];
        found = reduce::larger(absolute ? fabsf(value) : value, found);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        found = reduce::larger(found, __shfl_xor_sync(0xffffffffu, found, distance));
    }
    if (lane() == 0) {
        of_warps[threadIdx.x / 32] = found;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned warp = 1; warp < blockDim.x / 32; warp++) {
            found = reduce::larger(found, of_warps[warp]);
        }
        largest[group * parts + blockIdx.x] = found;
    }
}

// sums[row] = sum of x[row, :] in float64. x is [rows, columns], dense. Launch: a warp takes a row, in a loop over rows.
KERNEL reduce_rows_f64(const float* x, double* sums, long long rows, int columns) {
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        double sum = 0;
        for (int i = lane(); i < columns; i += 32) {
            sum += x[row * columns + i];
        }
        sum = warp_sum(sum);
        if (lane() == 0) {
            sums[row] = sum;
        }
    }
}

// sums[group, part] = sum of w (a - b)^2 over a share of the group, in float64; without weights (null) w = 1. a, b and w are
// [outer, groups, inner], dense. Launch: groups in x, parts in y; 256 threads.
KERNEL __launch_bounds__(256) reduce_squared_errors_f64(const float* a, const float* b, const float* w, double* sums,
        long long outer, long long groups, long long inner) {
    long long group = blockIdx.x;
    long long count = outer * inner;
    double sum = 0;
    for (long long i = 256ll * blockIdx.y + threadIdx.x; i < count; i += 256ll * gridDim.y) {
        long long at = reduce::place(i, group, groups, inner, count);
        float error = a[at] - b[at];
        double square = (double) error * error;
        sum += w != nullptr ? square * w[at] : square;
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) {
        sums[group * gridDim.y + blockIdx.y] = sum;
    }
}
