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
    static constexpr int COLUMNS = 2 * Tile::FRAGMENTS_B;
    static_assert(COLUMNS == 8, "one for each of the lanes that share them");

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
        if (Tile::first_column() >= place.rows_b()) {
            return;
        }
        // of each of this thread's columns of the tile
        float sums[COLUMNS][MOMENTS] = {};
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                UNROLLED
                for (int s = 0; s < 4; s++) {
                    float4 o = kept.at(i, j, s >> 1);
                    float output = (s & 1) == 0 ? o.x : o.y;
                    float own = __fadd_rn(value(i, j, s), bias[i][s >> 1]);
                    float error = __fsub_rn(own, output);
                    float numbers[MOMENTS] = {__fmul_rn(error, output), __fmul_rn(error, error), error,
                            __fmul_rn(own, output), __fmul_rn(own, own), own, __fmul_rn(output, output), output};
                    UNROLLED
                    for (int moment = 0; moment < MOMENTS; moment++) {
                        float& sum = sums[2 * j + (s & 1)][moment];
                        sum = __fadd_rn(sum, numbers[moment]);
                    }
                }
            }
        }
        // eight lanes have the same columns: in three steps each hands on half of what it has, and ends with one column
        halve<COLUMNS / 2>(sums);
        halve<COLUMNS / 4>(sums);
        halve<COLUMNS / 8>(sums);
        int column = lane() >> 2;
        float4* target = reinterpret_cast<float4*>(moments + at(candidate, Tile::column(column >> 1, column & 1)));
        target[0] = make_float4(sums[0][0], sums[0][1], sums[0][2], sums[0][3]);
        target[1] = make_float4(sums[0][4], sums[0][5], sums[0][6], sums[0][7]);
    }

private:
    // Of 2 HALF columns the lower or the upper ones stay, as a bit of the lane tells; the others go to the lane without it.
    template <int HALF> static __device__ __forceinline__ void halve(float (&sums)[COLUMNS][MOMENTS]) {
        constexpr int DISTANCE = 32 * HALF / COLUMNS;
        bool upper = (lane() & DISTANCE) != 0;
        UNROLLED
        for (int column = 0; column < HALF; column++) {
            UNROLLED
            for (int moment = 0; moment < MOMENTS; moment++) {
                float low = sums[column][moment];
                float high = sums[column + HALF][moment];
                float received = __shfl_xor_sync(0xffffffffu, upper ? low : high, DISTANCE);
                sums[column][moment] = __fadd_rn(upper ? high : low, received);
            }
        }
    }

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
