// The product of two matrices of codes, tile by tile: what every kernel with int8 products is made of.
#pragma once

#include "common.cuh"

// One block computes a tile of A B^T: A is [rows, k], B is [columns, k], codes in rows of `padded` bytes, a multiple of
// DEPTH, zeros beyond k, aligned to 16 bytes. The block has WARPS_A x WARPS_B warps; each owns ROWS / WARPS_A x
// COLUMNS / WARPS_B of the tile, in fragments of 16 x 8: by tensor cores from sm_80 on, else by __dp4a with the same owners.
// Sums are exact.
//
// Use, by all threads of the block together:
//   __shared__ typename Tile::Shared shared;
//   Tile tile;
//   tile.clear();
//   tile.multiply(shared, a + row * padded, rows - row, b + column * padded, columns - column, padded);
//   tile.each([&](int row, int column, int sum) { ... });   // row and column within the tile, also beyond the matrices
template <int ROWS, int COLUMNS, int WARPS_A, int WARPS_B> struct Int8Tile {
    static constexpr int HEIGHT = ROWS;
    static constexpr int WIDTH = COLUMNS;
    static constexpr int THREADS = 32 * WARPS_A * WARPS_B;
    // codes of a row that are in shared memory at a time
    static constexpr int DEPTH = 64;
    // 20 words: the eight rows of a fragment begin in different banks
    static constexpr int PITCH = DEPTH + 16;
    static constexpr int FRAGMENTS_A = ROWS / WARPS_A / 16;
    static constexpr int FRAGMENTS_B = COLUMNS / WARPS_B / 8;

    // Two stages: one is multiplied while the other is loaded.
    struct Stage {
        __align__(16) signed char a[ROWS * PITCH];
        __align__(16) signed char b[COLUMNS * PITCH];
    };
    struct Shared {
        Stage stage[2];
    };

    int sums[FRAGMENTS_A][FRAGMENTS_B][4];

    __device__ __forceinline__ void clear() {
        UNROLLED
        for (int i = 0; i < FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < FRAGMENTS_B; j++) {
                UNROLLED
                for (int s = 0; s < 4; s++) {
                    sums[i][j][s] = 0;
                }
            }
        }
    }

    // Adds the product of a tile. rows and columns may be fewer than the tile has, or none: what is missing counts as zeros.
    // Ends with a barrier, so that shared memory may be used again.
    __device__ __forceinline__ void multiply(Shared& shared, const signed char* a, long long rows, const signed char* b,
                                             long long columns, long long padded) {
        int steps = (int) (padded / DEPTH);
        load(shared.stage[0], a, rows, b, columns, padded, 0);
        for (int step = 0; step < steps; step++) {
            if (step + 1 < steps) {
                load(shared.stage[(step + 1) & 1], a, rows, b, columns, padded, (step + 1) * DEPTH);
                copy_async_wait<1>();
            } else {
                copy_async_wait<0>();
            }
            __syncthreads();
            multiply(shared.stage[step & 1]);
            __syncthreads();
        }
    }

    // Calls f(row, column, sum) for each sum that this thread owns.
    template <class F> __device__ __forceinline__ void each(F f) const {
        UNROLLED
        for (int i = 0; i < FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < FRAGMENTS_B; j++) {
                UNROLLED
                for (int s = 0; s < 4; s++) {
                    f(row(i, s), column(j, s), sums[i][j][s]);
                }
            }
        }
    }

    // Where sum s of fragment row i and fragment column j is: within the tile.
    static __device__ __forceinline__ int row(int i, int s) {
        return first_row() + 16 * i + ((threadIdx.x & 31) >> 2) + 8 * (s >> 1);
    }

    static __device__ __forceinline__ int column(int j, int s) {
        return first_column() + 8 * j + 2 * (threadIdx.x & 3) + (s & 1);
    }

private:
    static __device__ __forceinline__ int first_row() {
        return (int) (threadIdx.x / 32 / WARPS_B) * (ROWS / WARPS_A);
    }

    static __device__ __forceinline__ int first_column() {
        return (int) (threadIdx.x / 32 % WARPS_B) * (COLUMNS / WARPS_B);
    }

    static __device__ __forceinline__ void load(Stage& stage, const signed char* a, long long rows, const signed char* b,
                                                long long columns, long long padded, int first) {
        load_rows<ROWS>(stage.a, a, rows, padded, first);
        load_rows<COLUMNS>(stage.b, b, columns, padded, first);
        copy_async_commit();
    }

    template <int COUNT> static __device__ __forceinline__ void load_rows(signed char* to, const signed char* from,
                                                                          long long rows, long long padded, int first) {
        constexpr int PIECES = DEPTH / 16;
        for (int i = threadIdx.x; i < COUNT * PIECES; i += THREADS) {
            int row = i / PIECES;
            int at = 16 * (i % PIECES);
            bool inside = row < rows;
            copy_async_16(to + row * PITCH + at, inside ? from + row * padded + first + at : from, inside ? 16 : 0);
        }
    }

    static __device__ __forceinline__ unsigned word(const signed char* matrix, int row, int word) {
        return *reinterpret_cast<const unsigned*>(matrix + row * PITCH + 4 * word);
    }

#if HAS_INT8_MMA
    __device__ __forceinline__ void multiply(const Stage& stage) {
        int group = (threadIdx.x & 31) >> 2;
        int member = threadIdx.x & 3;
        UNROLLED
        for (int step = 0; step < DEPTH / 32; step++) {
            unsigned a[FRAGMENTS_A][4];
            UNROLLED
            for (int i = 0; i < FRAGMENTS_A; i++) {
                UNROLLED
                for (int part = 0; part < 4; part++) {
                    int row = first_row() + 16 * i + group + 8 * (part & 1);
                    a[i][part] = word(stage.a, row, 8 * step + member + 4 * (part >> 1));
                }
            }
            unsigned b[FRAGMENTS_B][2];
            UNROLLED
            for (int j = 0; j < FRAGMENTS_B; j++) {
                UNROLLED
                for (int part = 0; part < 2; part++) {
                    b[j][part] = word(stage.b, first_column() + 8 * j + group, 8 * step + member + 4 * part);
                }
            }
            mma_m16n8k32_s8(sums, a, b);
        }
    }
#else
    __device__ __forceinline__ void multiply(const Stage& stage) {
        for (int k = 0; k < DEPTH / 4; k++) {
            unsigned b[FRAGMENTS_B][2];
            UNROLLED
            for (int j = 0; j < FRAGMENTS_B; j++) {
                b[j][0] = word(stage.b, column(j, 0), k);
                b[j][1] = word(stage.b, column(j, 1), k);
            }
            UNROLLED
            for (int i = 0; i < FRAGMENTS_A; i++) {
                UNROLLED
                for (int half = 0; half < 2; half++) {
                    int a = (int) word(stage.a, row(i, 2 * half), k);
                    UNROLLED
                    for (int j = 0; j < FRAGMENTS_B; j++) {
                        sums[i][j][2 * half] = __dp4a(a, (int) b[j][0], sums[i][j][2 * half]);
                        sums[i][j][2 * half + 1] = __dp4a(a, (int) b[j][1], sums[i][j][2 * half + 1]);
                    }
                }
            }
        }
    }
#endif
};
