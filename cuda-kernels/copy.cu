// Copies between strided arrays: windows, transpositions, unfolded patches, heads; and rows in any order.
// Up to six axes, outermost first; strides in elements. Elements are counted as the target lies in memory.
#include "rows.cuh"

struct Strided {
    long long size[6];
    long long from[6];
    long long to[6];
};

namespace strided {

struct Place {
    long long from;
    long long to;
};

// Where element i is: 32-bit divisions where they do.
template <class I> __device__ __forceinline__ Place place(const Strided& shape, I i) {
    Place place = {0, 0};
    for (int axis = 5; axis >= 0 && i != 0; axis--) {
        I size = (I) shape.size[axis];
        I outer = i / size;
        long long at = i - outer * size;
        place.from += at * shape.from[axis];
        place.to += at * shape.to[axis];
        i = outer;
    }
    return place;
}

// to = from for n items of type T and strides in items; the innermost axis of a vector copy is contiguous.
template <class T, class S> __device__ __forceinline__ void copy(const Strided& shape, const S* from, T* to, long long n) {
    for (long long i = grid_thread(); i < n; i += grid_threads()) {
        Place at = n <= 0xffffffffll ? place<unsigned>(shape, (unsigned) i) : place<unsigned long long>(shape, i);
        to[at.to] = (T) from[at.from];
    }
}

}  // namespace strided

// Launch: any number of blocks, threads loop over n elements.
KERNEL copy_strided_f32(Strided shape, const float* from, float* to, long long n) {
    strided::copy(shape, from, to, n);
}

// The same for groups of four neighbours, aligned to 16 bytes: sizes and strides count groups, n too.
KERNEL copy_strided_f32x4(Strided shape, const float4* from, float4* to, long long n) {
    strided::copy(shape, from, to, n);
}

KERNEL copy_strided_s8(Strided shape, const signed char* from, signed char* to, long long n) {
    strided::copy(shape, from, to, n);
}

// Codes become numbers.
KERNEL copy_widened_s8(Strided shape, const signed char* from, float* to, long long n) {
    strided::copy(shape, from, to, n);
}

// The last axis is contiguous in the target, the one before it in the source: tiles of 32 x 32 pass through shared memory,
// so that both are accessed in order. Launch: x the last axis by 32, y the one before by 32 or fewer, z the others or fewer.
KERNEL copy_transposed_f32(Strided shape, const float* from, float* to) {
    __shared__ float tile[32][33];
    int column = threadIdx.x & 31;
    int row = threadIdx.x / 32;
    int rows = blockDim.x / 32;
    long long others = shape.size[0] * shape.size[1] * shape.size[2] * shape.size[3];
    long long tiles = (shape.size[4] + 31) / 32;
    for (long long z = blockIdx.z; z < others; z += gridDim.z) {
        long long source = 0;
        long long target = 0;
        long long rest = z;
        for (int axis = 3; axis >= 0; axis--) {
            long long at = rest % shape.size[axis];
            rest /= shape.size[axis];
            source += at * shape.from[axis];
            target += at * shape.to[axis];
        }
        long long first = 32ll * blockIdx.x;
        for (long long y = blockIdx.y; y < tiles; y += gridDim.y) {
            long long second = 32 * y;
            for (int i = row; i < 32; i += rows) {
                if (first + i < shape.size[5] && second + column < shape.size[4]) {
                    tile[i][column] = from[source + (first + i) * shape.from[5] + second + column];
                }
            }
            __syncthreads();
            for (int i = row; i < 32; i += rows) {
                if (second + i < shape.size[4] && first + column < shape.size[5]) {
                    to[target + (second + i) * shape.to[4] + first + column] = tile[column][i];
                }
            }
            __syncthreads();
        }
    }
}

// to[i, :] = from[rows[i], :] for count rows of length numbers. Launch: any number of blocks.
KERNEL gather_rows_f32(const float* from, const int* rows, float* to, long long count, long long length) {
    bool vectors = length % 4 == 0 && aligned16(from) && aligned16(to);
    long long groups = vectors ? length / 4 : length;
    for (long long i = grid_thread(); i < count * groups; i += grid_threads()) {
        long long row = i / groups;
        long long at = i - row * groups;
        if (vectors) {
            store_four(to + row * length + 4 * at, load_four(from + rows[row] * length + 4 * at));
        } else {
            to[row * length + at] = from[rows[row] * length + at];
        }
    }
}
