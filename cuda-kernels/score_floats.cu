// Losses of a search whose left operand stays in float32, as in the embedding of patches: float32 products of L with the codes
// of R, compared tile by tile as the products of codes are. Tiles have O's columns as rows.
#include "score_rows.cuh"

namespace score {

// The product of a tile of codes and one of numbers, in slices along k; each thread owns the same elements as in an Int8Tile.
template <class Tile, int SIDE> struct FloatProduct {
    static constexpr int DEPTH = 16;
    // 20 words: rows that are read together lie in different banks
    static constexpr int PITCH = DEPTH + 4;

    struct Shared {
        __align__(16) float a[SIDE * PITCH];
        __align__(16) float b[SIDE * PITCH];
    };

    float values[Tile::FRAGMENTS_A][Tile::FRAGMENTS_B][4];

    // a: rows of `padded` codes; b: rows of k numbers.
    __device__ __forceinline__ void multiply(Shared& shared, const signed char* a, int rows_a, long long padded,
                                             const float* b, int rows_b, int k) {
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                UNROLLED
                for (int s = 0; s < 4; s++) {
                    values[i][j][s] = 0;
                }
            }
        }
        for (int first = 0; first < k; first += DEPTH) {
            __syncthreads();
            for (int i = threadIdx.x; i < SIDE * DEPTH / 4; i += Tile::THREADS) {
                int row = i / (DEPTH / 4);
                int at = i % (DEPTH / 4) * 4;
                char4 codes = row < rows_a ? *reinterpret_cast<const char4*>(a + row * padded + first + at) : char4{};
                *reinterpret_cast<float4*>(shared.a + row * PITCH + at) = make_float4(codes.x, codes.y, codes.z, codes.w);
            }
            for (int i = threadIdx.x; i < SIDE * DEPTH; i += Tile::THREADS) {
                int row = i / DEPTH;
                int at = i % DEPTH;
                shared.b[row * PITCH + at] = row < rows_b && first + at < k ? b[(long long) row * k + first + at] : 0.0f;
            }
            __syncthreads();
            // a sum for each slice, then the slices: fewer roundings at the size of the whole sum
            float slice[Tile::FRAGMENTS_A][Tile::FRAGMENTS_B][4] = {};
            UNROLLED
            for (int at = 0; at < DEPTH; at += 4) {
                float4 rows[Tile::FRAGMENTS_A][2];
                UNROLLED
                for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
                    UNROLLED
                    for (int half = 0; half < 2; half++) {
                        rows[i][half] = *reinterpret_cast<const float4*>(shared.a + Tile::row(i, 2 * half) * PITCH + at);
                    }
                }
                UNROLLED
                for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                    UNROLLED
                    for (int s = 0; s < 2; s++) {
                        float4 column = *reinterpret_cast<const float4*>(shared.b + Tile::column(j, s) * PITCH + at);
                        UNROLLED
                        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
                            UNROLLED
                            for (int half = 0; half < 2; half++) {
                                float4 row = rows[i][half];
                                float& value = slice[i][j][2 * half + s];
                                value = __fmaf_rn(row.x, column.x, value);
                                value = __fmaf_rn(row.y, column.y, value);
                                value = __fmaf_rn(row.z, column.z, value);
                                value = __fmaf_rn(row.w, column.w, value);
                            }
                        }
                    }
                }
            }
            UNROLLED
            for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
                UNROLLED
                for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                    UNROLLED
                    for (int s = 0; s < 4; s++) {
                        values[i][j][s] = __fadd_rn(values[i][j][s], slice[i][j][s]);
                    }
                }
            }
        }
    }
};

}  // namespace score

// partial[candidate, slot, group, column of the group] = sum over rows; tiles may lie across scales.
// steps: [candidates, scales].
// Launch: x row blocks * tiles, y candidates / share; 128 threads. a: codes of R; left: [batch, n, k].
KERNEL __launch_bounds__(128, 2) score_tile64_f32(score::Shape p, const signed char* a, const float* left,
        const score::RowBlock* blocks, const float* steps, const float* output, const float* weight, const float* bias, double* partial) {
    typedef Int8Tile<64, 64, 2, 2> Tile;
    __shared__ score::FloatProduct<Tile, 64>::Shared shared;
    __shared__ float sums[2][64];
    score::Place at = score::place(p, blocks, 64);
    score::Kept<Tile, true> kept;
    kept.load(p, at, {output, weight, bias}, false);
    const float* rows = left + (at.block.batch * p.n + at.block.from) * p.k;
    int to = (int) min(p.most, (blockIdx.y + 1) * p.share);
    for (int candidate = (int) (blockIdx.y * p.share); candidate < to; candidate++) {
        score::FloatProduct<Tile, 64> product;
        const signed char* codes = a + candidate * p.stride_a + at.codes_a() * p.padded;
        product.multiply(shared, codes, at.columns, p.padded, rows, at.block.rows, (int) p.k);
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int half = 0; half < 2; half++) {
                int column = min(at.column + Tile::row(i, 2 * half), (int) p.m - 1);
                int scale = p.scales == 1 ? 0 : p.by_head ? at.block.head : column / (int) (p.m / p.scales);
                float step = steps[candidate * p.scales + scale];
                float sum = 0;
                UNROLLED
                for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                    float4 o = kept.at(i, j, half);
                    UNROLLED
                    for (int s = 0; s < 2; s++) {
                        float error = __fmaf_rn(product.values[i][j][2 * half + s], step, s == 0 ? -o.x : -o.y);
                        sum = p.absolute ? __fadd_rn(sum, fabsf(error))
                                : __fmaf_rn(s == 0 ? o.z : o.w, __fmul_rn(error, error), sum);
                    }
                }
                sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, 1));
                sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, 2));
                if ((threadIdx.x & 3) == 0) {
                    sums[threadIdx.x / 32 % 2][Tile::row(i, 2 * half)] = sum;
                }
            }
        }
        __syncthreads();
        int own = (int) threadIdx.x;
        if (own < at.columns) {
            int column = at.column + own;
            bool split = p.groups > 1 && !p.by_head;
            int width = (int) (split ? p.m / p.groups : p.m);
            int group = p.groups == 1 ? 0 : split ? column / width : at.block.head;
            long long to_place = score::partial_sum(p, candidate, at.block.slot, group, column % width);
            partial[to_place] = (double) sums[0][own] + sums[1][own];
        }
    }
}

// What score_rows64_s8 leaves. Launch: likewise.
KERNEL __launch_bounds__(128, 2) score_rows64_f32(score::Shape p, const signed char* a, const float* left,
        const score::RowBlock* blocks, const int* lists, const int* counts, const float* steps, const float* output, const float* bias, float* moments) {
    typedef Int8Tile<64, 64, 2, 2> Tile;
    __shared__ score::FloatProduct<Tile, 64>::Shared shared;
    score::Place at = score::place(p, blocks, 64);
    int from = (int) (blockIdx.y * p.share);
    int to = min(counts[at.scale], from + (int) p.share);
    score::RowMoments<Tile> own = {p, at, {}, {}, moments};
    own.load({output, nullptr, bias});
    const float* rows = left + (at.block.batch * p.n + at.block.from) * p.k;
    for (int index = from; index < to; index++) {
        int candidate = lists[at.scale * p.most + index];
        score::FloatProduct<Tile, 64> product;
        const signed char* codes = a + candidate * p.stride_a + at.codes_a() * p.padded;
        product.multiply(shared, codes, at.columns, p.padded, rows, at.block.rows, (int) p.k);
        float step = steps[candidate * p.scales + at.scale];
        own.leave(candidate, [&](int i, int j, int s) { return __fmul_rn(product.values[i][j][s], step); });
    }
}
