// Batched float32 product c = a b of any strides, where cuBLAS is missing or cannot express the strides.
// a is [images, heads, n, k], b is [images, heads, k, m], c is [images, heads, n, m]. Sums run along k in order.
#include "rows.cuh"

struct Matrices {
    long long image_stride;
    long long head_stride;
    long long row_stride;
    long long column_stride;
};

struct FloatProduct {
    long long n;
    long long k;
    long long m;
    long long images;
    long long heads;
    Matrices a;
    Matrices b;
    Matrices c;
};

// Launch: x m / 64, y n / 64, z images * heads or fewer; 256 threads, each with 4 x 4 sums of a tile of 64 x 64.
KERNEL matmul_tiled_f32(FloatProduct p, const float* a, const float* b, float* c) {
    constexpr int TILE = 64;
    constexpr int DEPTH = 16;
    __shared__ float left[DEPTH][TILE + 1];
    __shared__ float right[DEPTH][TILE + 1];
    long long first_row = (long long) TILE * blockIdx.y;
    long long first_column = (long long) TILE * blockIdx.x;
    int row = threadIdx.x / 16;
    int column = threadIdx.x % 16;
    for (long long z = blockIdx.z; z < p.images * p.heads; z += gridDim.z) {
        long long image = z / p.heads;
        long long head = z % p.heads;
        const float* from_a = a + image * p.a.image_stride + head * p.a.head_stride;
        const float* from_b = b + image * p.b.image_stride + head * p.b.head_stride;
        float* to = c + image * p.c.image_stride + head * p.c.head_stride;
        float sum[4][4] = {};
        for (long long first_k = 0; first_k < p.k; first_k += DEPTH) {
            for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
                // neighbouring threads read neighbours along the axis that is contiguous
                int at_row = p.a.column_stride == 1 ? i / DEPTH : i % TILE;
                int at_k = p.a.column_stride == 1 ? i % DEPTH : i / TILE;
                bool inside = first_row + at_row < p.n && first_k + at_k < p.k;
                left[at_k][at_row] = inside
                        ? from_a[(first_row + at_row) * p.a.row_stride + (first_k + at_k) * p.a.column_stride] : 0.0f;
                int at_column = p.b.column_stride == 1 ? i % TILE : i / DEPTH;
                at_k = p.b.column_stride == 1 ? i / TILE : i % DEPTH;
                inside = first_column + at_column < p.m && first_k + at_k < p.k;
                right[at_k][at_column] = inside
                        ? from_b[(first_k + at_k) * p.b.row_stride + (first_column + at_column) * p.b.column_stride] : 0.0f;
            }
            __syncthreads();
            for (int k = 0; k < DEPTH; k++) {
                for (int i = 0; i < 4; i++) {
                    for (int j = 0; j < 4; j++) {
                        sum[i][j] = fmaf(left[k][row + 16 * i], right[k][column + 16 * j], sum[i][j]);
                    }
                }
            }
            __syncthreads();
        }
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < 4; j++) {
                long long r = first_row + row + 16 * i;
                long long s = first_column + column + 16 * j;
                if (r < p.n && s < p.m) {
                    to[r * p.c.row_stride + s * p.c.column_stride] = sum[i][j];
                }
            }
        }
    }
}
