// Losses that compare rows of outputs: what a tile leaves of each of its rows for a similarity.
#pragma once

#include "score.cuh"

namespace score {

// With o an output, c the candidate's and e = c - o, sums over columns of
//   e o, e e, e, c o, c c, c, o o, o.
// Near a similarity of 1 the first three tell it with more digits; far from it those of c do.
constexpr int MOMENTS = 8;

// Tiles have O's columns as rows here. A warp's sums, over at most 32 columns, are float32; score_similarity_f64 adds them up.
template <class Tile> struct RowMoments {
    static constexpr int WARPS_A = Tile::WARPS_DOWN;

    const Shape& p;
    const Place& place;
    Kept<Tile, true> kept;
    float bias[Tile::FRAGMENTS_A][2];
    float* moments;

    __device__ __forceinline__ void load(const Truth& truth) {
        kept.load(p, place, truth, true);
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int half = 0; half < 2; half++) {
                int column = Tile::row(i, 2 * half);
                bias[i][half] = truth.bias != nullptr && column < place.columns ? truth.bias[place.column + column] : 0.0f;
            }
        }
    }

    // value(i, j, s): what a candidate's product without bias is.
    template <class Value> __device__ __forceinline__ void leave(int candidate, Value value) {
        UNROLLED
        for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
            UNROLLED
            for (int s = 0; s < 2; s++) {
                float sums[MOMENTS] = {};
                UNROLLED
                for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
                    UNROLLED
                    for (int half = 0; half < 2; half++) {
                        float4 o = kept.at(i, j, half);
                        float output = s == 0 ? o.x : o.y;
                        float own = __fadd_rn(value(i, j, 2 * half + s), bias[i][half]);
                        float error = __fsub_rn(own, output);
                        float numbers[MOMENTS] = {__fmul_rn(error, output), __fmul_rn(error, error), error,
                                __fmul_rn(own, output), __fmul_rn(own, own), own, __fmul_rn(output, output), output};
                        UNROLLED
                        for (int moment = 0; moment < MOMENTS; moment++) {
                            sums[moment] = __fadd_rn(sums[moment], numbers[moment]);
                        }
                    }
                }
                UNROLLED
                for (int moment = 0; moment < MOMENTS; moment++) {
                    for (int distance = 4; distance < 32; distance *= 2) {
                        sums[moment] = __fadd_rn(sums[moment], __shfl_xor_sync(0xffffffffu, sums[moment], distance));
                    }
                }
                if (lane() < 4) {
                    float4* target = reinterpret_cast<float4*>(moments + at(candidate, Tile::column(j, s)));
                    target[0] = make_float4(sums[0], sums[1], sums[2], sums[3]);
                    target[1] = make_float4(sums[4], sums[5], sums[6], sums[7]);
                }
            }
        }
    }

private:
    // moments[candidate, row block, column group, row, piece, MOMENTS]
    __device__ __forceinline__ long long at(int candidate, int row) const {
        long long across = p.parts * p.tiles;
        long long column_groups = p.by_head ? 1 : p.groups;
        long long group = p.by_head ? 0 : place.group;
        long long of_block = (candidate * (gridDim.x / across) + blockIdx.x / across) * column_groups + group;
        return ((of_block * Tile::WIDTH + row) * (p.inner * WARPS_A) + place.within * WARPS_A
                + threadIdx.x / 32 / (Tile::THREADS / 32 / WARPS_A)) * MOMENTS;
    }
};

}  // namespace score
