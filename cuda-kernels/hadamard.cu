// Blocks of consecutive numbers times Sylvester's Hadamard matrix times a factor: log2(block) stages of butterflies.
#include "hadamard.cuh"

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
        own = hadamard::stages_of_warp(own, block);
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
