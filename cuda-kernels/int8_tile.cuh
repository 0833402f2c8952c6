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
//   tile.multiply(shared, a + row * padded, rows - row, b + column * padded, columns - column, padded, [](const signed char*) {});
//   ... tile.sums[i][j][s], at Tile::row(i, s) and Tile::column(j, s) within the tile, also beyond the matrices
//
// In shared memory a row of a slice is DEPTH bytes without a gap, its four pieces of 16 codes exchanged as `place` says. A
// fragment's lane takes the 16 codes of one piece in one load, for two products: which of the 64 positions in k a lane
// multiplies does not matter as long as A and B agree. The 8 lanes that shared memory serves at a time read two whole rows,
// which lie in all banks once; and with __dp4a four rows at one piece, which the exchange spreads over all banks.
template <int ROWS, int COLUMNS, int WARPS_A, int WARPS_B> struct Int8Tile {
    static constexpr int HEIGHT = ROWS;
    static constexpr int WIDTH = COLUMNS;
    static constexpr int WARPS_DOWN = WARPS_A;
    static constexpr int THREADS = 32 * WARPS_A * WARPS_B;
    // codes of a row that are in shared memory at a time
    static constexpr int DEPTH = 64;
    static constexpr int FRAGMENTS_A = ROWS / WARPS_A / 16;
    static constexpr int FRAGMENTS_B = COLUMNS / WARPS_B / 8;

    // sum s of fragment row i and fragment column j
    typedef int Sums[FRAGMENTS_A][FRAGMENTS_B][4];

    // Two stages: one is multiplied while the other is loaded.
    struct Stage {
        __align__(16) signed char a[ROWS * DEPTH];
        __align__(16) signed char b[COLUMNS * DEPTH];
    };
    struct Shared {
        Stage stage[2];
    };

    Sums sums;

    __device__ __forceinline__ void clear() {
        clear(sums);
    }

    static __device__ __forceinline__ void clear(Sums& sums) {
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
    // Calls see(slice) for each slice of A. Ends with a barrier, so that shared memory may be used again.
    template <class See> __device__ __forceinline__ void multiply(Shared& shared, const signed char* a, long long rows,
            const signed char* b, long long columns, long long padded, See see) {
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
            multiply(sums, slice_a(shared.stage[step & 1].a), shared.stage[step & 1].b);
            see(shared.stage[step & 1].a);
            __syncthreads();
        }
    }

    // What a row's codes in a slice add up to. Neighbouring lanes may ask for neighbouring rows.
    static __device__ __forceinline__ int row_sum(const signed char* slice, int row) {
        constexpr int ONES = 0x01010101;
        int sum = 0;
        UNROLLED
        for (int piece = 0; piece < DEPTH / 16; piece++) {
            sum = dot(codes(slice, row, piece), make_int4(ONES, ONES, ONES, ONES), sum);
        }
        return sum;
    }

    // Where sum s of fragment row i and fragment column j is: within the tile.
    static __device__ __forceinline__ int row(int i, int s) {
        return first_row() + 16 * i + ((threadIdx.x & 31) >> 2) + 8 * (s >> 1);
    }

    static __device__ __forceinline__ int column(int j, int s) {
        return first_column() + 8 * j + 2 * (threadIdx.x & 3) + (s & 1);
    }

    // First row and column of this warp's part of the tile.
    static __device__ __forceinline__ int first_row() {
        return (int) (threadIdx.x / 32 / WARPS_B) * (ROWS / WARPS_A);
    }

    static __device__ __forceinline__ int first_column() {
        return (int) (threadIdx.x / 32 % WARPS_B) * (COLUMNS / WARPS_B);
    }

    // Starts to copy codes [first, first + DEPTH) of COUNT rows to a slice; rows that are missing become zeros.
    template <int COUNT> static __device__ __forceinline__ void load_rows(signed char* slice, const signed char* from,
                                                                          long long rows, long long padded, int first) {
        constexpr int PIECES = DEPTH / 16;
        UNROLLED
        for (int start = 0; start < COUNT * PIECES; start += THREADS) {
            int i = start + (int) threadIdx.x;
            if (COUNT * PIECES % THREADS == 0 || i < COUNT * PIECES) {
                int row = i / PIECES;
                int piece = i % PIECES;
                bool inside = row < rows;
                copy_async_16(slice + place(row, piece), inside ? from + row * padded + first + 16 * piece : from, inside ? 16 : 0);
            }
        }
    }

#if HAS_INT8_MMA
    // What this thread needs of a slice of A, for any number of products.
    struct SliceA {
        int4 rows[FRAGMENTS_A][2];
    };

    static __device__ __forceinline__ SliceA slice_a(const signed char* a) {
        SliceA slice;
        UNROLLED
        for (int i = 0; i < FRAGMENTS_A; i++) {
            slice.rows[i][0] = codes(a, row(i, 0), threadIdx.x & 3);
            slice.rows[i][1] = codes(a, row(i, 2), threadIdx.x & 3);
        }
        return slice;
    }

    // Adds the product of a slice of A and one of B.
    static __device__ __forceinline__ void multiply(Sums& sums, const SliceA& a, const signed char* b) {
        // the lanes may have gone different ways before, and nothing but this makes them meet
        __syncwarp();
        unsigned low_a[FRAGMENTS_A][4], high_a[FRAGMENTS_A][4];
        UNROLLED
        for (int i = 0; i < FRAGMENTS_A; i++) {
            UNROLLED
            for (int half = 0; half < 2; half++) {
                low_a[i][half] = a.rows[i][half].x;
                low_a[i][2 + half] = a.rows[i][half].y;
                high_a[i][half] = a.rows[i][half].z;
                high_a[i][2 + half] = a.rows[i][half].w;
            }
        }
        unsigned low_b[FRAGMENTS_B][2], high_b[FRAGMENTS_B][2];
        UNROLLED
        for (int j = 0; j < FRAGMENTS_B; j++) {
            int4 column = codes(b, first_column() + 8 * j + (int) ((threadIdx.x & 31) >> 2), threadIdx.x & 3);
            low_b[j][0] = column.x;
            low_b[j][1] = column.y;
            high_b[j][0] = column.z;
            high_b[j][1] = column.w;
        }
        mma_m16n8k32_s8(sums, low_a, low_b);
        mma_m16n8k32_s8(sums, high_a, high_b);
    }
#else
    struct SliceA {
        const signed char* codes;
    };

    static __device__ __forceinline__ SliceA slice_a(const signed char* a) {
        return {a};
    }

    static __device__ __forceinline__ void multiply(Sums& sums, const SliceA& a, const signed char* b) {
        for (int piece = 0; piece < DEPTH / 16; piece++) {
            int4 columns[FRAGMENTS_B][2];
            UNROLLED
            for (int j = 0; j < FRAGMENTS_B; j++) {
                columns[j][0] = codes(b, column(j, 0), piece);
                columns[j][1] = codes(b, column(j, 1), piece);
            }
            UNROLLED
            for (int i = 0; i < FRAGMENTS_A; i++) {
                UNROLLED
                for (int half = 0; half < 2; half++) {
                    int4 own = codes(a.codes, row(i, 2 * half), piece);
                    UNROLLED
                    for (int j = 0; j < FRAGMENTS_B; j++) {
                        UNROLLED
                        for (int s = 0; s < 2; s++) {
                            sums[i][j][2 * half + s] = dot(own, columns[j][s], sums[i][j][2 * half + s]);
                        }
                    }
                }
            }
        }
    }
#endif

private:
    static __device__ __forceinline__ void load(Stage& stage, const signed char* a, long long rows, const signed char* b,
                                                long long columns, long long padded, int first) {
        load_rows<ROWS>(stage.a, a, rows, padded, first);
        load_rows<COLUMNS>(stage.b, b, columns, padded, first);
        copy_async_commit();
    }

    static __device__ __forceinline__ int place(int row, int piece) {
        return row * DEPTH + 16 * (piece ^ (row >> 1 & 3));
    }

    // A piece of a row; for fragments of A and of B of one lane, whose rows differ by multiples of 8, it is the same one.
    static __device__ __forceinline__ int4 codes(const signed char* slice, int row, int piece) {
        return *reinterpret_cast<const int4*>(slice + place(row, piece));
    }

    static __device__ __forceinline__ int dot(int4 a, int4 b, int sum) {
        return __dp4a(a.w, b.w, __dp4a(a.z, b.z, __dp4a(a.y, b.y, __dp4a(a.x, b.x, sum))));
    }
};
