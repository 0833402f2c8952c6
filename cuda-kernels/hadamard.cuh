// The stages of a Hadamard transform within a warp whose lanes have four neighbouring numbers each:
//   for half = 1, 2, ..., block / 2:  x[i], x[i + half] = x[i] + x[i + half], x[i] - x[i + half].
// The stages come in this order, and the factor last, so the results are HostOperations.java's to the last bit.
#pragma once

#include "rows.cuh"

namespace hadamard {

// One stage for four numbers and their partners; `upper`: the partners are the first ones of their pairs.
__device__ __forceinline__ Four stage(Four own, Four other, bool upper) {
    for (int j = 0; j < 4; j++) {
        own.v[j] = upper ? other.v[j] - own.v[j] : own.v[j] + other.v[j];
    }
    return own;
}

// A stage among the four numbers of a thread.
template <int HALF> __device__ __forceinline__ Four stage_within(Four own) {
    Four result;
    for (int j = 0; j < 4; j++) {
        result.v[j] = (j & HALF) != 0 ? own.v[j ^ HALF] - own.v[j] : own.v[j] + own.v[j ^ HALF];
    }
    return result;
}

// The stages up to blocks of 128; all lanes of the warp come here.
__device__ __forceinline__ Four stages_of_warp(Four own, int block) {
    own = block > 1 ? stage_within<1>(own) : own;
    own = block > 2 ? stage_within<2>(own) : own;
    UNROLLED
    for (int distance = 1; distance < 32; distance *= 2) {
        if (4 * distance < block) {
            Four other;
            for (int j = 0; j < 4; j++) {
                other.v[j] = __shfl_xor_sync(0xffffffffu, own.v[j], distance);
            }
            own = stage(own, other, (lane() & distance) != 0);
        }
    }
    return own;
}

}  // namespace hadamard
