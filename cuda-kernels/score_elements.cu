// Losses that are sums over elements, of operands in codes: w (O - O^)^2 or |O - O^|.
//
// In each turn a tile of A meets two of B, so that what is loaded of A, and of O and w, serves twice: two candidates of the
// operand along the tile's columns, or the two ranges of L, whose products are added up. Roundings: sum of products to
// float32; times the step and less O in one rounding; square, times w and added in one rounding, up to 64 elements a thread; the 32
// threads of a warp in float32 as a tree; warps and tiles in float64, in order.
#include "score.cuh"

namespace score {

template <class Tile, bool IN_REGISTERS> struct Elements {
    static constexpr int WARPS = Tile::THREADS / 32;

    // sums of the two last turns' warps
    struct Shared {
        double sums[2][2][WARPS];
    };

    const Shape& p;
    const Place& place;
    const Candidates& candidates;
    Kept<Tile, IN_REGISTERS> kept;
    Shared& shared;
    double* partial;
    int from;  // first entry of the list that this block takes
    int to;
    const float* first_steps;  // null, or steps of the product that is subtracted from O before the candidates come

    // Candidate of a product of a turn; -1 if there is none.
    __device__ __forceinline__ int candidate(int turn, int product) const {
        int index = from + (p.ranges == 2 ? turn : 2 * turn + product);
        return index < to && turn >= 0 ? candidates.lists[place.scale * p.most + index] : -1;
    }

    // Turns are counted from 0 with the subtracted product, if there is one.
    __device__ __forceinline__ int before() const {
        return first_steps != nullptr ? 1 : 0;
    }

    __device__ __forceinline__ int turns() const {
        return before() + (p.ranges == 2 ? to - from : (to - from + 1) / 2);
    }

    __device__ __forceinline__ float step(int candidate, int range) const {
        return candidates.steps[(candidate * p.scales + place.scale) * p.ranges + range];
    }

    __device__ __forceinline__ void finish(int turn, const typename Tile::Sums (&sums)[2]) {
        if (turn < before()) {
            subtract(sums[0], first_steps[place.scale]);
            return;
        }
        int first = candidate(turn - before(), 0);
        int second = p.ranges == 2 ? -1 : candidate(turn - before(), 1);
        if (place.idle<Tile>()) {
            leave(turn, 0, 0);
            leave(turn, 1, 0);
            return;
        }
        // without a second candidate the second product is zero and its loss is not asked for
        float other_step = p.ranges == 2 ? step(first, 1) : second >= 0 ? step(second, 0) : 0.0f;
        float totals[2];
        if (p.ranges == 2 && p.absolute) {
            losses<true, true>(sums, step(first, 0), other_step, totals);
        } else if (p.ranges == 2) {
            losses<true, false>(sums, step(first, 0), other_step, totals);
        } else if (p.absolute) {
            losses<false, true>(sums, step(first, 0), other_step, totals);
        } else {
            losses<false, false>(sums, step(first, 0), other_step, totals);
        }
        leave(turn, 0, totals[0]);
        leave(turn, 1, totals[1]);
    }

    // When all warps have left their sums of a turn.
    __device__ __forceinline__ void finished(int turn) {
        int product = (int) threadIdx.x;
        if (turn < before() || product >= (p.ranges == 2 ? 1 : 2)) {
            return;
        }
        int own = candidate(turn - before(), product);
        if (own >= 0) {
            double sum = 0;
            for (int warp = 0; warp < WARPS; warp++) {
                sum += shared.sums[turn & 1][product][warp];
            }
            partial[partial_sum(p, own, place.block.slot, place.group, place.within)] = sum;
        }
    }

private:
    __device__ __forceinline__ void leave(int turn, int product, float sum) {
        if (lane() == 0) {
            shared.sums[turn & 1][product][threadIdx.x / 32] = sum;
        }
    }

    // Losses of this warp's part of the tile, of both products or of what they give together; all its threads have them.
    template <bool TWO_RANGES, bool ABSOLUTE>
    __device__ __forceinline__ void losses(const typename Tile::Sums (&sums)[2], float step, float other_step,
                                           float (&totals)[2]) {
        totals[0] = 0;
        totals[1] = 0;
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                UNROLLED
                for (int half = 0; half < 2; half++) {
                    float4 o = kept.at(i, j, half);
                    float outputs[2] = {o.x, o.y};
                    float weights[2] = {o.z, o.w};
                    UNROLLED
                    for (int s = 0; s < 2; s++) {
                        float first = __int2float_rn(sums[0][i][j][2 * half + s]);
                        float second = __int2float_rn(sums[1][i][j][2 * half + s]);
                        float error = __fmaf_rn(first, step, -outputs[s]);
                        if (TWO_RANGES) {
                            add<ABSOLUTE>(__fmaf_rn(second, other_step, error), weights[s], totals[0]);
                        } else {
                            add<ABSOLUTE>(error, weights[s], totals[0]);
                            add<ABSOLUTE>(__fmaf_rn(second, other_step, -outputs[s]), weights[s], totals[1]);
                        }
                    }
                }
            }
        }
        totals[0] = warp_sum(totals[0]);
        if (!TWO_RANGES) {
            totals[1] = warp_sum(totals[1]);
        }
    }

    template <bool ABSOLUTE> static __device__ __forceinline__ void add(float error, float weight, float& total) {
        total = ABSOLUTE ? __fadd_rn(total, fabsf(error)) : __fmaf_rn(weight, __fmul_rn(error, error), total);
    }

    __device__ __forceinline__ void subtract(const typename Tile::Sums& sums, float step) {
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                UNROLLED
                for (int half = 0; half < 2; half++) {
                    float4 o = kept.at(i, j, half);
                    o.x = __fmaf_rn(__int2float_rn(sums[i][j][2 * half]), -step, o.x);
                    o.y = __fmaf_rn(__int2float_rn(sums[i][j][2 * half + 1]), -step, o.y);
                    kept.at(i, j, half) = o;
                }
            }
        }
    }
};

// first: codes of L in the range that all candidates share, multiplied once and subtracted from O; null if there is none.
template <class Tile, int SIDE, int STAGES, bool IN_REGISTERS, class Stages>
__device__ __forceinline__ void elements(const Shape& p, Stages& stages, float4* kept, const signed char* a,
        const signed char* b, const signed char* first, const float* first_steps, const RowBlock* blocks, const Candidates& candidates,
        const Truth& truth, double* partial) {
    typedef Elements<Tile, IN_REGISTERS> Elements;
    __shared__ typename Elements::Shared shared;
    Place at = place(p, blocks, SIDE);
    int from = (int) (blockIdx.y * p.share);
    int to = min(candidates.counts[at.scale], from + (int) p.share);
    if (from >= to) {
        return;
    }
    Elements own = {p, at, candidates, {kept}, shared, partial, from, to, first_steps};
    own.kept.load(p, at, truth, false);
    const signed char* tile_a = a + at.codes_a() * p.padded;
    const signed char* tile_b = b + at.codes_b() * p.padded;
    Pipeline<Tile, SIDE, STAGES>::run(stages, p, at, own.turns(), [&](int turn) -> Turn {
        if (turn < own.before()) {
            const signed char* tile = first + at.codes_b() * p.padded;
            return {tile_a, {tile, tile}, 1};
        }
        int one = own.candidate(turn - own.before(), 0);
        if (p.ranges == 2) {
            const signed char* tile = tile_b + one * p.stride_b;
            return {tile_a + one * p.stride_a, {tile, tile + p.range_b}, 2};
        }
        int other = own.candidate(turn - own.before(), 1);
        return {tile_a, {tile_b + one * p.stride_b, tile_b + max(other, 0) * p.stride_b}, other < 0 ? 1 : 2};
    }, own);
}

}  // namespace score

// partial[candidate, slot, group, inner] of tiles of 64 x 64; O and w in registers.
// Launch: x row blocks * parts * tiles, y candidates / share; 128 threads.
KERNEL __launch_bounds__(128, 2) score_tile64_s8(score::Shape p, const signed char* a, const signed char* b,
        const signed char* first, const float* first_steps, const score::RowBlock* blocks, const int* lists, const int* counts, const float* steps,
        const float* output, const float* weight, const float* bias, double* partial) {
    typedef Int8Tile<64, 64, 2, 2> Tile;
    __shared__ typename score::Pipeline<Tile, 64, 3>::Shared stages;
    score::elements<Tile, 64, 3, true>(p, stages, nullptr, a, b, first, first_steps, blocks, {lists, counts, steps},
            {output, weight, bias}, partial);
}

// The same with tiles of 128 x 128; O and w in shared memory, for devices that give a block 201 KiB.
// Launch: likewise; 256 threads; dynamic shared memory: 128 x 128 x 8 bytes for O and w, then 3 stages of 3 x 128 x 64.
KERNEL __launch_bounds__(256, 1) score_tile128_s8(score::Shape p, const signed char* a, const signed char* b,
        const signed char* first, const float* first_steps, const score::RowBlock* blocks, const int* lists, const int* counts,
        const float* steps, const float* output, const float* weight, const float* bias, double* partial) {
    typedef Int8Tile<128, 128, 2, 4> Tile;
    typedef score::Pipeline<Tile, 128, 3> Pipeline;
    DYNAMIC_SHARED(unsigned char, memory);
    float4* kept = reinterpret_cast<float4*>(memory);
    Pipeline::Shared& stages = *reinterpret_cast<Pipeline::Shared*>(memory + score::Kept<Tile, false>::BYTES);
    score::elements<Tile, 128, 3, false>(p, stages, kept, a, b, first, first_steps, blocks, {lists, counts, steps},
            {output, weight, bias}, partial);
}
