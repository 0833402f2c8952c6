// What kernels share that give each row of a matrix to a warp, or each element to a thread.
#pragma once

#include "common.cuh"

// Four neighbouring numbers, loaded and stored at once.
struct Four {
    float v[4];
};

__device__ __forceinline__ Four load_four(const float* p) {
    float4 four = *reinterpret_cast<const float4*>(p);
    return {{four.x, four.y, four.z, four.w}};
}

__device__ __forceinline__ void store_four(float* p, Four four) {
    *reinterpret_cast<float4*>(p) = make_float4(four.v[0], four.v[1], four.v[2], four.v[3]);
}

__device__ __forceinline__ bool aligned16(const void* p) {
    return (reinterpret_cast<unsigned long long>(p) & 15) == 0;
}

__device__ __forceinline__ float warp_sum(float value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    }
    return value;
}

__device__ __forceinline__ double warp_sum(double value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    }
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
    }
    return value;
}

__device__ __forceinline__ int lane() {
    return threadIdx.x & 31;
}

// Number of this thread, of this warp, and of all of them in the grid.
__device__ __forceinline__ long long grid_thread() {
    return (long long) blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ long long grid_threads() {
    return (long long) gridDim.x * blockDim.x;
}

__device__ __forceinline__ long long grid_warp() {
    return grid_thread() / 32;
}

__device__ __forceinline__ long long grid_warps() {
    return grid_threads() / 32;
}

// Sum over the block's threads, in a fixed order; all threads have it.
template <int THREADS> __device__ __forceinline__ double block_sum(double value) {
    __shared__ double warps[THREADS / 32];
    value = warp_sum(value);
    if (lane() == 0) {
        warps[threadIdx.x / 32] = value;
    }
    __syncthreads();
    double sum = 0;
    for (int warp = 0; warp < THREADS / 32; warp++) {
        sum += warps[warp];
    }
    __syncthreads();
    return sum;
}

// A row as one warp sees it: lane l has columns l, l + 32, ... In registers: the row is read from memory once.
template <int SLOTS> struct HeldRow {
    static constexpr int LONGEST = 32 * SLOTS;
    float numbers[SLOTS];

    // Calls f(column, number) for each number of this lane, which f may change.
    template <class F> __device__ __forceinline__ void each(int columns, F f) {
        UNROLLED
        for (int slot = 0; slot < SLOTS; slot++) {
            int column = 32 * slot + lane();
            if (column < columns) {
                f(column, numbers[slot]);
            }
        }
    }

    __device__ __forceinline__ void load(const float* row, int columns) {
        each(columns, [&](int column, float& number) { number = row[column]; });
    }
};

// A row that is too long for registers: read again for each pass, from the caches.
struct StreamedRow {
    const float* row;

    template <class F> __device__ __forceinline__ void each(int columns, F f) {
        for (int column = lane(); column < columns; column += 32) {
            float number = row[column];
            f(column, number);
        }
    }

    __device__ __forceinline__ void load(const float* from, int) {
        row = from;
    }
};

// Calls f(row, kind) for the rows of this warp, kind the sort of row that suits: held if it is not too long.
template <class F> __device__ __forceinline__ void each_row(long long rows, int columns, F f) {
    using Short = HeldRow<8>;
    using Medium = HeldRow<20>;
    using Long = HeldRow<32>;
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        if (columns <= Short::LONGEST) {
            f(row, Short());
        } else if (columns <= Medium::LONGEST) {
            f(row, Medium());
        } else if (columns <= Long::LONGEST) {
            f(row, Long());
        } else {
            f(row, StreamedRow());
        }
    }
}

// Sum of what this row's lanes have, in an order that depends on nothing but the row's length: along each lane, then the
// lanes as a tree. FixedOrder.java adds in the same order.
template <class Row, class F> __device__ __forceinline__ float row_sum(Row& row, int columns, F f) {
    float sum = 0;
    row.each(columns, [&](int column, float number) { sum += f(column, number); });
    return warp_sum(sum);
}

// y[i] = f(x[i]); y may be x.
template <class F> __device__ __forceinline__ void map_elements(const float* x, float* y, long long n, F f) {
    long long vectors = aligned16(x) && aligned16(y) ? n / 4 : 0;
    for (long long i = grid_thread(); i < vectors; i += grid_threads()) {
        Four pack = load_four(x + 4 * i);
        for (int j = 0; j < 4; j++) {
            pack.v[j] = f(pack.v[j]);
        }
        store_four(y + 4 * i, pack);
    }
    for (long long i = 4 * vectors + grid_thread(); i < n; i += grid_threads()) {
        y[i] = f(x[i]);
    }
}

// y[i] = f(a[i], b[i]); y may be a or b.
template <class F> __device__ __forceinline__ void map_pairs(const float* a, const float* b, float* y, long long n, F f) {
    long long vectors = aligned16(a) && aligned16(b) && aligned16(y) ? n / 4 : 0;
    for (long long i = grid_thread(); i < vectors; i += grid_threads()) {
        Four first = load_four(a + 4 * i);
        Four second = load_four(b + 4 * i);
        for (int j = 0; j < 4; j++) {
            first.v[j] = f(first.v[j], second.v[j]);
        }
        store_four(y + 4 * i, first);
    }
    for (long long i = 4 * vectors + grid_thread(); i < n; i += grid_threads()) {
        y[i] = f(a[i], b[i]);
    }
}
