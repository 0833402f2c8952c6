// Blocks of consecutive numbers times Sylvester's Hadamard matrix times a factor: log2(block) stages of butterflies,
//   for half = 1, 2, ..., block / 2:  x[i], x[i + half] = x[i] + x[i + half], x[i] - x[i + half].
// The stages come in this order, and the factor last, so the results are HostOperations.java's to the last bit.
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

}  // namespace hadamard

// y = x times the matrix; block is a power of two up to 1024 that divides n; y may be x. A thread has four numbers: the first two
// stages are its own, the next five the warp's, the others the block's.
// Launch: any number of blocks of 256 threads, in a loop over pieces of 1024 numbers.
KERNEL __launch_bounds__(256) hadamard_blocks_f32(const float* x, float* y, long long n, int block, float factor) {
    __align__(16) __shared__ float exchanged[1024];
    bool aligned = aligned16(x) && aligned16(y);
    int own_place = 4 * (int) threadIdx.x;
    for (long long piece = 1024ll * blockIdx.x; piece < n; piece += 1024ll * gridDim.x) {
        long long at = piece + own_place;
        bool whole = aligned && at + 4 <= n;
        Four own;
        if (whole) {
            own = load_four(x + at);
        } else {
            for (int j = 0; j < 4; j++) {
                own.v[j] = at + j < n ? x[at + j] : 0.0f;
            }
        }
        own = block > 1 ? hadamard::stage_within<1>(own) : own;
        own = block > 2 ? hadamard::stage_within<2>(own) : own;
        UNROLLED
        for (int distance = 1; distance < 32; distance *= 2) {
            if (4 * distance < block) {
                Four other;
                for (int j = 0; j < 4; j++) {
                    other.v[j] = __shfl_xor_sync(0xffffffffu, own.v[j], distance);
                }
                own = hadamard::stage(own, other, (lane() & distance) != 0);
            }
        }
        for (int half = 128; half < block; half *= 2) {
            store_four(exchanged + own_place, own);
            __syncthreads();
            Four other = load_four(exchanged + (own_place ^ half));
            __syncthreads();
            own = hadamard::stage(own, other, (own_place & half) != 0);
        }
        for (int j = 0; j < 4; j++) {
            own.v[j] *= factor;
        }
        if (whole) {
            store_four(y + at, own);
        } else {
            for (int j = 0; j < 4; j++) {
                if (at + j < n) {
                    y[at + j] = own.v[j];
                }
            }
        }
    }
}

// One more stage of y, for blocks beyond 1024. Launch: any number of blocks; threads loop over n / 2 pairs.
KERNEL hadamard_stage_f32(float* y, long long n, int half, float factor) {
    for (long long i = grid_thread(); i < n / 2; i += grid_threads()) {
        long long at = 2 * i - (i & (half - 1));
        float a = y[at];
        float b = y[at + half];
        y[at] = (a + b) * factor;
        y[at + half] = (a - b) * factor;
    }
}
