// Numbers to codes, and to what these stand for.
#include "codes.cuh"
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

// codes[range, image, head, row, 0..padded) of x, zeros beyond k; a grid for all, or one a head. A grid with one range has
// zeros in the second. Launch: x padded / 64, y rows / 64, z images * heads or fewer; 256 threads. A tile of 64 x 64 passes
// through shared memory, so that reading follows the source's contiguous axis and writing follows k.
KERNEL quantize_matrix_s8(CodeMatrices shape, const float* x, signed char* codes, const CodeGrid* grids,
                                              int grid_count) {
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
            coder.each(shape.ranges, value, [&](int range, int code) {
                reinterpret_cast<signed char*>(tile[range][r])[c] = (signed char) code;
            });
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
