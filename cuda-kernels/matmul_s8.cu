// Products of codes with their steps: c = sum over ranges r of (A_r B^T) * step(a, r) * step(b) + bias. Where A's grid says so each
// row is divided by the sum over ranges r of (sum of the row of A_r) * step(a, r), unless that is 0. Where rows of A or B have ranges
// of their own (not null), a row or column of c is multiplied by its size, before the bias is added.
// A_r is [images, heads, n, padded k], B is [images, heads, m, padded k] (for a linear layer [m, padded k], the weights),
// both as quantize_matrix_s8 writes them; the integer sums are exact. c is [images, heads, n, m] float32 of any strides.
// Order of roundings: step(a, r) * step(b); sum to float32, times that; bias added; second range added; divided by the row's sum,
// which is added up in float64 and rounded to float32, or times the row's size; times the column's; bias added if not before.
#include "codes.cuh"
#include "int8_tile.cuh"

struct CodeProduct {
    long long n;
    long long m;
    long long padded;
    long long images;
    long long heads;
    long long ranges;  // of A, 1 or 2
    long long grids_a;  // how many grids: one for all, or one a head
    long long grids_b;
    long long image_stride;  // of c
    long long head_stride;
    long long row_stride;
    long long column_stride;
};

namespace matmul {

// Calls store(row, column, values) for every group of STEP neighbours of this thread that lies within [n, m].
template <class Tile, int STEP, class F> __device__ __forceinline__ void each_sum(long long row, long long column, long long n,
        long long m, F store, const float (&values)[Tile::FRAGMENTS_A][Tile::FRAGMENTS_B][4]) {
    UNROLLED
    for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
        UNROLLED
        for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
            UNROLLED
            for (int s = 0; s < 4; s += STEP) {
                long long at_row = row + Tile::row(i, s);
                long long at_column = column + Tile::column(j, s);
                if (at_row < n && at_column < m) {
                    store(at_row, at_column, &values[i][j][s]);
                }
            }
        }
    }
}

// values = f(i, j, s, values)
template <class Tile, class F>
__device__ __forceinline__ void change(float (&values)[Tile::FRAGMENTS_A][Tile::FRAGMENTS_B][4], F f) {
    UNROLLED
    for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
        UNROLLED
        for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
            UNROLLED
            for (int s = 0; s < 4; s++) {
                values[i][j][s] = f(i, j, s, values[i][j][s]);
            }
        }
    }
}

// bias and steps (a scale for each column, instead of grids of B) are null where they do not apply.
template <class Tile> __device__ __forceinline__ void codes(const CodeProduct& p, const signed char* a, const signed char* b,
        float* c, const CodeGrid* grids_a, const CodeGrid* grids_b, const RowRange* rows_a, const RowRange* rows_b,
        const float* steps, const float* bias) {
    static_assert(Tile::HEIGHT <= Tile::THREADS && Tile::WIDTH <= Tile::THREADS, "a thread has a row and a column of the tile");
    __shared__ typename Tile::Shared shared;
    __shared__ double sums[Tile::HEIGHT];  // of what the codes of each row stand for; registers are short
    __shared__ float of_rows[Tile::HEIGHT];
    __shared__ float of_columns[Tile::WIDTH];  // sizes, or the bias that comes last
    int own = (int) threadIdx.x;
    long long row = (long long) Tile::HEIGHT * blockIdx.y;
    long long column = (long long) Tile::WIDTH * blockIdx.x;
    long long batch = p.images * p.heads;
    for (long long z = blockIdx.z; z < batch; z += gridDim.z) {
        long long head = z % p.heads;
        const CodeGrid& grid = grids_a[p.grids_a == 1 ? 0 : head];
        float step_b = steps == nullptr ? grids_b[p.grids_b == 1 ? 0 : head].range[0].step : 0.0f;
        const signed char* tile_b = b + (z * p.m + column) * p.padded;
        float* tile_c = c + z / p.heads * p.image_stride + head * p.head_stride;
        float values[Tile::FRAGMENTS_A][Tile::FRAGMENTS_B][4];
        bool by_sum = grid.rows == ROWS_BY_SUM;
        bool adds_row = by_sum && own < Tile::HEIGHT;
        if (adds_row) {
            sums[own] = 0;
        }
        for (int range = 0; range < p.ranges; range++) {
            Tile tile;
            tile.clear();
            const signed char* tile_a = a + ((range * batch + z) * p.n + row) * p.padded;
            int row_codes = 0;
            tile.multiply(shared, tile_a, p.n - row, tile_b, p.m - column, p.padded, [&](const signed char* slice) {
                if (adds_row) {
                    row_codes += Tile::row_sum(slice, own);
                }
            });
            float step_a = grid.range[range].step;
            if (adds_row) {
                sums[own] += (double) row_codes * step_a;
            }
            UNROLLED
            for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
                UNROLLED
                for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                    UNROLLED
                    for (int s = 0; s < 4; s++) {
                        long long at = column + Tile::column(j, s);
                        float scale = __fmul_rn(step_a, steps == nullptr ? step_b : at < p.m ? steps[at] : 0.0f);
                        float value = __fmul_rn(__int2float_rn(tile.sums[i][j][s]), scale);
                        if (range == 1) {
                            value = __fadd_rn(values[i][j][s], value);
                        } else if (bias != nullptr && rows_a == nullptr && at < p.m) {
                            value = __fadd_rn(value, bias[at]);
                        }
                        values[i][j][s] = value;
                    }
                }
            }
        }
        bool by_row = by_sum || rows_a != nullptr;
        if (by_row || rows_b != nullptr) {
            if (own < Tile::HEIGHT && by_row) {
                of_rows[own] = by_sum ? (sums[own] == 0 ? 1.0f : (float) sums[own])
                        : row + own < p.n ? rows_a[z * p.n + row + own].size : 1.0f;
            }
            if (own < Tile::WIDTH && column + own < p.m && (rows_b != nullptr || bias != nullptr)) {
                of_columns[own] = rows_b != nullptr ? rows_b[z * p.m + column + own].size : bias[column + own];
            }
            __syncthreads();
            if (by_sum) {
                change<Tile>(values, [&](int i, int, int s, float value) { return __fdiv_rn(value, of_rows[Tile::row(i, s)]); });
            } else if (by_row) {
                change<Tile>(values, [&](int i, int, int s, float value) { return __fmul_rn(value, of_rows[Tile::row(i, s)]); });
            }
            if (rows_b != nullptr) {
                change<Tile>(values, [&](int, int j, int s, float value) { return __fmul_rn(value, of_columns[Tile::column(j, s)]); });
            } else if (bias != nullptr) {
                change<Tile>(values, [&](int, int j, int s, float value) { return __fadd_rn(value, of_columns[Tile::column(j, s)]); });
            }
        }
        // a thread has pairs of neighbours in a row: stored at once, a warp fills whole sectors of memory
        if (p.column_stride == 1 && p.row_stride % 2 == 0 && p.m % 2 == 0 && (reinterpret_cast<unsigned long long>(tile_c) & 7) == 0) {
            each_sum<Tile, 2>(row, column, p.n, p.m, [&](long long at_row, long long at_column, const float* value) {
                // through the intrinsic: a plain store of a pair nvcc makes into two
                __stcg(reinterpret_cast<float2*>(tile_c + at_row * p.row_stride + at_column), make_float2(value[0], value[1]));
            }, values);
        } else {
            each_sum<Tile, 1>(row, column, p.n, p.m, [&](long long at_row, long long at_column, const float* value) {
                tile_c[at_row * p.row_stride + at_column * p.column_stride] = value[0];
            }, values);
        }
    }
}

}  // namespace matmul

// Launch: x m / 64, y n / 64, z images * heads or fewer; 128 threads.
KERNEL __launch_bounds__(128) matmul_tile64_s8(CodeProduct p, const signed char* a, const signed char* b, float* c,
        const CodeGrid* grids_a, const CodeGrid* grids_b, const RowRange* rows_a, const RowRange* rows_b, const float* steps,
        const float* bias) {
    matmul::codes<Int8Tile<64, 64, 2, 2>>(p, a, b, c, grids_a, grids_b, rows_a, rows_b, steps, bias);
}

// Launch: x m / 128, y n / 128, z images * heads or fewer; 256 threads.
KERNEL __launch_bounds__(256) matmul_tile128_s8(CodeProduct p, const signed char* a, const signed char* b, float* c,
        const CodeGrid* grids_a, const CodeGrid* grids_b, const RowRange* rows_a, const RowRange* rows_b, const float* steps,
        const float* bias) {
    matmul::codes<Int8Tile<128, 128, 2, 4>>(p, a, b, c, grids_a, grids_b, rows_a, rows_b, steps, bias);
}
