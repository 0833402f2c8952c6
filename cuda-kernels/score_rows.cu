// Similarities of rows, cosine and Pearson's correlation, of operands in codes.
#include "score_rows.cuh"

namespace score {

template <class Tile> struct CodeMoments {
    const Candidates& candidates;
    RowMoments<Tile> rows;
    int from;

    __device__ __forceinline__ int candidate(int turn) const {
        return candidates.lists[rows.place.scale * rows.p.most + from + turn];
    }

    __device__ __forceinline__ void finish(int turn, const typename Tile::Sums (&sums)[2]) {
        int own = candidate(turn);
        const float* steps = candidates.steps + (own * rows.p.scales + rows.place.scale) * rows.p.ranges;
        float first = steps[0];
        float second = rows.p.ranges == 2 ? steps[1] : 0.0f;
        // where there is no second range its sums are zero
        rows.leave(own, [&](int i, int j, int s) {
            return __fmaf_rn(__int2float_rn(sums[1][i][j][s]), second, __fmul_rn(__int2float_rn(sums[0][i][j][s]), first));
        });
    }

    __device__ __forceinline__ void finished(int turn) {
    }
};

}  // namespace score

// moments[candidate, row block, column group, 64 rows, piece, 8]. Launch: x row blocks * parts * tiles, y candidates / share;
// 128 threads. a: codes of R; b: codes of L.
KERNEL __launch_bounds__(128, 2) score_rows64_s8(score::Shape p, const signed char* a, const signed char* b,
        const score::RowBlock* blocks, const int* lists, const int* counts, const float* steps, const float* output,
        const float* bias, float* moments) {
    typedef Int8Tile<64, 64, 2, 2> Tile;
    typedef score::Pipeline<Tile, 64, 3> Pipeline;
    __shared__ typename Pipeline::Shared stages;
    score::Place at = score::place(p, blocks, 64);
    int from = (int) (blockIdx.y * p.share);
    int to = min(counts[at.scale], from + (int) p.share);
    if (from >= to) {
        return;
    }
    score::Candidates candidates = {lists, counts, steps};
    score::CodeMoments<Tile> own = {candidates, {p, at, {}, {}, moments}, from};
    own.rows.load({output, nullptr, bias});
    const signed char* tile_a = a + at.codes_a() * p.padded;
    const signed char* tile_b = b + at.codes_b() * p.padded;
    Pipeline::run(stages, p, at, to - from, [&](int turn) -> score::Turn {
        int candidate = own.candidate(turn);
        const signed char* tile = tile_b + candidate * p.stride_b;
        return {tile_a + candidate * p.stride_a, {tile, tile + p.range_b}, (int) p.ranges};
    }, own);
}

// partial[candidate, slot, group] = sum over rows of 1 - similarity, from the moments that tiles of 64 x 64 have left.
// width: columns of a group. Launch: x row blocks, y column groups, z candidates; 64 threads, one a row.
KERNEL __launch_bounds__(64) score_similarity_f64(score::Shape p, const float* moments, const score::RowBlock* blocks,
        long long width, int centred, double* partial) {
    constexpr double SMALLEST_NORM = 1e-8;  // as usual in the definition of cosine similarity
    constexpr double SMALL_ERROR = 0.25;  // square of an error, relative to the output's, up to which its sums are more exact
    constexpr int PIECES = 2;  // of a tile
    __shared__ double warps[2];
    score::RowBlock block = blocks[blockIdx.x];
    long long candidate = blockIdx.z;
    long long pieces = p.inner * PIECES;
    int row = (int) threadIdx.x;
    double loss = 0;
    if (row < block.rows) {
        long long group = (candidate * gridDim.x + blockIdx.x) * gridDim.y + blockIdx.y;
        const float* own = moments + (group * 64 + row) * pieces * score::MOMENTS;
        double sum[score::MOMENTS] = {};
        for (long long piece = 0; piece < pieces; piece++) {
            UNROLLED
            for (int moment = 0; moment < score::MOMENTS; moment++) {
                sum[moment] += own[piece * score::MOMENTS + moment];
            }
        }
        double error_output = sum[0], error_error = sum[1], own_output = sum[3], own_own = sum[4], output_output = sum[6];
        if (centred) {
            double mean = sum[7] / width;
            error_output -= sum[2] * mean;
            error_error -= sum[2] * (sum[2] / width);
            own_output -= sum[5] * mean;
            own_own -= sum[5] * (sum[5] / width);
            output_output -= sum[7] * mean;
        }
        double relative = error_error / output_output;
        if (relative < SMALL_ERROR && sqrt(output_output) > SMALLEST_NORM) {
            // 1 - cosine by way of the tangent of the angle
            double along = error_output / output_output;
            double tangent = fmax(0.0, relative - along * along) / ((1 + along) * (1 + along));
            double secant = sqrt(1 + tangent);
            loss = tangent / (secant * (secant + 1));
        } else {
            double norms = fmax(SMALLEST_NORM, sqrt(fmax(0.0, own_own))) * fmax(SMALLEST_NORM, sqrt(fmax(0.0, output_output)));
            // never below 0, by rounding: who stops early at a sum of losses relies on it
            loss = fmax(0.0, 1 - own_output / norms);
        }
    }
    loss = warp_sum(loss);
    if (lane() == 0) {
        warps[threadIdx.x / 32] = loss;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        int group = p.groups == 1 ? 0 : p.by_head ? block.head : (int) blockIdx.y;
        partial[(candidate * p.slots + block.slot) * p.groups + group] = warps[0] + warps[1];
    }
}
