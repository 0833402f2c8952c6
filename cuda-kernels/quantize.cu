// Numbers to codes, and to what these stand for.
#include "codes.cuh"
#include "hadamard.cuh"
#include "rows.cuh"

// codes[i] = code of x[i] in one range of a grid, i < n. Launch: any number of blocks; four at a time where aligned.
KERNEL quantize_dense_s8(const float* x, signed char* codes, long long n, const CodeGrid* grids, int range) {
    Coder coder(grids, 0);
    bool aligned = aligned16(x) && (reinterpret_cast<unsigned long long>(codes) & 3) == 0;
    long long vectors = aligned ? n / 4 : 0;
    for (long long i = grid_thread(); i < vectors; i += grid_threads()) {
        Four pack = load_four(x + 4 * i);
        unsigned word = 0;
        for (int j = 0; j < 4; j++) {
            word |= (unsigned) (coder.code(range, pack.v[j]) & 255) << 8 * j;
        }
        reinterpret_cast<unsigned*>(codes)[i] = word;
    }
    for (long long i = 4 * vectors + grid_thread(); i < n; i += grid_threads()) {
        codes[i] = (signed char) coder.code(range, x[i]);
    }
}

// Matrices [images, heads, rows, k] of any strides, to be multiplied along k.
struct CodeMatrices {
    long long images;
    long long heads;
    long long rows;
    long long k;
    long long padded;  // k rounded up to a multiple of 64
    long long ranges;
    long long image_stride;
    long long head_stride;
    long long row_stride;
    long long k_stride;
};

// ranges[image, head, row] of x where the grid has such, else of size 1; a grid for all, or one a head.
// Launch: y rows / 64, z images * heads or fewer; 256 threads: four a row if neighbouring rows are neighbours in memory, else a warp.
KERNEL __launch_bounds__(256) range_rows_f32(CodeMatrices shape, const float* x, RowRange* ranges, const CodeGrid* grids,
                                             int grid_count) {
    constexpr int SHARES = 4;
    __shared__ float lows[SHARES][64];
    __shared__ float highs[SHARES][64];
    bool along_rows = shape.k_stride != 1 && shape.row_stride == 1;
    long long first_row = 64ll * blockIdx.y;
    for (long long z = blockIdx.z; z < shape.images * shape.heads; z += gridDim.z) {
        long long head = z % shape.heads;
        const CodeGrid& grid = grids[grid_count == 1 ? 0 : head];
        const float* source = x + z / shape.heads * shape.image_stride + head * shape.head_stride;
        auto leave = [&](long long row, const Extremes& extremes) {
            ranges[z * shape.rows + row] = grid.rows == ROWS_BY_RANGE ? extremes.row_range(grid.range[0]) : RowRange{1.0f, 0};
        };
        if (along_rows) {
            int r = (int) threadIdx.x & 63;
            int share = (int) threadIdx.x >> 6;
            Extremes extremes;
            for (long long k = share; first_row + r < shape.rows && k < shape.k; k += SHARES) {
                extremes.add(source[first_row + r + k * shape.k_stride]);
            }
            lows[share][r] = extremes.low;
            highs[share][r] = extremes.high;
            __syncthreads();
            if (share == 0 && first_row + r < shape.rows) {
                for (int other = 1; other < SHARES; other++) {
                    extremes.add(lows[other][r], highs[other][r]);
                }
                leave(first_row + r, extremes);
            }
            __syncthreads();
        } else {
            for (long long row = first_row + threadIdx.x / 32; row < min(shape.rows, first_row + 64); row += 256 / 32) {
                Extremes extremes;
                for (long long k = lane(); k < shape.k; k += 32) {
                    extremes.add(source[row * shape.row_stride + k * shape.k_stride]);
                }
                extremes.add_lanes();
                if (lane() == 0) {
                    leave(row, extremes);
                }
            }
        }
    }
}

// codes[range, image, head, row, 0..padded) of x, zeros beyond k; a grid for all, or one a head. A grid with one range has
// zeros in the second. row_ranges: as range_rows_f32 writes them, null if no grid has such.
// Launch: x padded / 64, y rows / 64, z images * heads or fewer; 256 threads. A tile of 64 x 64 passes through shared memory, so
// that reading follows the source's contiguous axis and writing follows k.
KERNEL quantize_matrix_s8(CodeMatrices shape, const float* x, signed char* codes, const CodeGrid* grids, int grid_count,
                          const RowRange* row_ranges) {
    __shared__ unsigned tile[2][64][17];  // words of four codes; 17: the rows of a column lie in different banks
    bool along_rows = shape.k_stride != 1 && shape.row_stride == 1;
    long long first_row = 64ll * blockIdx.y;
    long long first_k = 64ll * blockIdx.x;
    for (long long z = blockIdx.z; z < shape.images * shape.heads; z += gridDim.z) {
        long long head = z % shape.heads;
        Coder coder(grids, grid_count == 1 ? 0 : head);
        const float* source = x + z / shape.heads * shape.image_stride + head * shape.head_stride;
        for (int i = threadIdx.x; i < 64 * 64; i += blockDim.x) {
            int r = along_rows ? i & 63 : i >> 6;
            int c = along_rows ? i >> 6 : i & 63;
            bool inside = first_row + r < shape.rows && first_k + c < shape.k;
            // NaN has code 0
            float value = inside ? source[(first_row + r) * shape.row_stride + (first_k + c) * shape.k_stride] : nanf("");
            auto store = [&](int range, int code) { reinterpret_cast<signed char*>(tile[range][r])[c] = (signed char) code; };
            if (inside && coder.grid.rows == ROWS_BY_RANGE) {
                RowRange row = row_ranges[z * shape.rows + first_row + r];
                coder.of(row).each(shape.ranges, __fdiv_rn(value, row.size), store);
            } else {
                coder.each(shape.ranges, value, store);
            }
        }
        __syncthreads();
        for (int range = 0; range < shape.ranges; range++) {
            long long row = (range * shape.images * shape.heads + z) * shape.rows + first_row;
            signed char* target = codes + row * shape.padded + first_k;
            for (int i = threadIdx.x; i < 64 * 16; i += blockDim.x) {
                int r = i >> 4;
                int word = i & 15;
                if (first_row + r < shape.rows) {
                    *reinterpret_cast<unsigned*>(target + r * shape.padded + 4 * word) = tile[range][r][word];
                }
            }
        }
        __syncthreads();
    }
}

// How the rows of [rows, k] change before they become codes: times factors [k], plus shifts [k], either null for none, then blocks of up to 128
// numbers times a Hadamard matrix and a factor, as hadamard_blocks_f32 does it.
struct RowTransform {
    const float* factors;
    const float* shifts;
    long long block;
    long long k;
    bool aligned;

    // Four transformed numbers of a row from a column on, zeros beyond k; all lanes of the warp come here.
    __device__ __forceinline__ Four of(const float* row, int column, float factor) const {
        Four own;
        if (aligned && column + 4 <= k) {
            own = load_four(row + column);
            if (factors != nullptr) {
                Four by = load_four(factors + column);
                for (int j = 0; j < 4; j++) {
                    own.v[j] *= by.v[j];
                }
            }
            if (shifts != nullptr) {
                Four by = load_four(shifts + column);
                for (int j = 0; j < 4; j++) {
                    own.v[j] += by.v[j];
                }
            }
        } else {
            for (int j = 0; j < 4; j++) {
                bool inside = column + j < k;
                float number = inside ? row[column + j] : 0.0f;
                number = inside && factors != nullptr ? number * factors[column + j] : number;
                own.v[j] = inside && shifts != nullptr ? number + shifts[column + j] : number;
            }
        }
        if (block > 1) {
            own = hadamard::stages_of_warp(own, (int) block);
            for (int j = 0; j < 4; j++) {
                own.v[j] *= factor;
            }
        }
        return own;
    }
};

// codes[range, row, 0..padded) of the transformed rows of x [rows, k], zeros beyond k; padded is a multiple of 64. row_ranges[row] is
// written where the grid has such; then a row is read twice, the second time from the first cache.
// Launch: a warp takes a row, in a loop over rows.
KERNEL __launch_bounds__(256) quantize_transformed_s8(const float* x, const float* factors, const float* shifts, signed char* codes,
                                                      long long rows, int k, int padded, int ranges, int block, float factor,
                                                      const CodeGrid* grids, RowRange* row_ranges) {
    Coder coder(grids, 0);
    RowTransform transform{factors, shifts, block, k, (k & 3) == 0 && aligned16(x) && aligned16(factors) && aligned16(shifts)};
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        const float* source = x + row * k;
        Coder own = coder;
        bool by_range = coder.grid.rows == ROWS_BY_RANGE;
        float size = 1;
        if (by_range) {
            Extremes extremes;
            for (int piece = 0; piece < k; piece += 128) {
                int column = piece + 4 * lane();
                Four numbers = transform.of(source, column, factor);
                for (int j = 0; j < 4; j++) {
                    if (column + j < k) {
                        extremes.add(numbers.v[j]);
                    }
                }
            }
            extremes.add_lanes();
            RowRange range = extremes.row_range(coder.grid.range[0]);
            if (lane() == 0) {
                row_ranges[row] = range;
            }
            own = coder.of(range);
            size = range.size;
        }
        for (int piece = 0; piece < padded; piece += 128) {
            int column = piece + 4 * lane();
            Four numbers = transform.of(source, column, factor);
            unsigned words[2] = {0, 0};
            for (int j = 0; j < 4; j++) {
                float value = by_range ? __fdiv_rn(numbers.v[j], size) : numbers.v[j];
                // NaN has code 0
                own.each(ranges, column + j < k ? value : nanf(""),
                         [&](int range, int code) { words[range] |= (unsigned) (code & 255) << 8 * j; });
            }
            if (column < padded) {
                unsigned* target = reinterpret_cast<unsigned*>(codes + row * padded + column);
                target[0] = words[0];
                if (ranges == 2) {
                    target[rows * padded / 4] = words[1];
                }
            }
        }
    }
}

// y[i] = what the codes of x[i] stand for; y may be x. Launch: any number of blocks; threads loop, four numbers at a time where
// aligned.
KERNEL decode_dense_f32(const float* x, float* y, long long n, const CodeGrid* grids) {
    Coder coder(grids, 0);
    map_elements(x, y, n, [&](float number) { return coder.value(number); });
}

// The same divided by its sum over the row, unless that is 0; [rows, columns]. The sum is float64's, exact in any order while the
// largest number times columns is below 2^29 times the smallest but 0. Launch: a warp takes a row, in a loop over rows.
KERNEL decode_rows_f32(const float* x, float* y, long long rows, int columns, const CodeGrid* grids) {
    Coder coder(grids, 0);
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        double sum = 0;
        for (int i = lane(); i < columns; i += 32) {
            float value = coder.value(x[row * columns + i]);
            y[row * columns + i] = value;
            sum += value;
        }
        sum = warp_sum(sum);
        float divisor = sum == 0 ? 1.0f : (float) sum;
        for (int i = lane(); i < columns; i += 32) {
            y[row * columns + i] = __fdiv_rn(y[row * columns + i], divisor);
        }
    }
}

// What codes stand for where each row's range is the unit of the steps; [rows, columns]; y may be x. Launch: a warp takes a row, in
// a loop over rows.
KERNEL decode_ranges_f32(const float* x, float* y, long long rows, int columns, const CodeGrid* grids) {
    Coder coder(grids, 0);
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        Extremes extremes;
        for (int i = lane(); i < columns; i += 32) {
            extremes.add(x[row * columns + i]);
        }
        extremes.add_lanes();
        RowRange range = extremes.row_range(coder.grid.range[0]);
        Coder own = coder.of(range);
        for (int i = lane(); i < columns; i += 32) {
            y[row * columns + i] = __fmul_rn(own.value(__fdiv_rn(x[row * columns + i], range.size)), range.size);
        }
    }
}
