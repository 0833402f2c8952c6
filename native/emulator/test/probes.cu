// Kernels that try the emulator: right ones, and ones with a planted fault each. Never compiled by nvcc.
#include "../../../cuda-kernels/common.cuh"

#define GLOBAL_THREAD (blockIdx.x * blockDim.x + threadIdx.x)

// --- right

// out[thread] = index of the thread, block and grid in one number.
KERNEL indices(unsigned* out) {
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

// out[12 lane + i]: results of every shuffle and vote.
KERNEL warp_functions(int* out) {
    int lane = threadIdx.x, *own = out + 12 * lane;
    own[0] = __shfl_sync(~0u, lane * 10, 5);
    own[1] = __shfl_xor_sync(~0u, lane, 3);
    own[2] = __shfl_up_sync(~0u, lane, 2);
    own[3] = __shfl_down_sync(~0u, lane, 2);
    own[4] = __shfl_sync(~0u, lane, 1, 8);
    own[5] = static_cast<int>(__shfl_xor_sync(~0u, lane + 0.5, 16));
    own[6] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
    own[7] = __any_sync(~0u, lane == 31) + 2 * __all_sync(~0u, lane < 31);
    if (lane < 16) {
        own[8] = __shfl_xor_sync(0xffffu, lane, 1);
    } else {
        own[8] = __shfl_xor_sync(0xffff0000u, lane, 2);
    }
#if __CUDA_ARCH__ >= 800
    own[9] = __reduce_add_sync(~0u, lane);
    own[10] = __reduce_max_sync(~0u, lane - 40);
#else
    own[9] = 496;
    own[10] = -9;
#endif
    own[11] = __dp4a(0x01ff7f80, 0x0203fe80, lane);
}

// sums[block] = sum of the block's part of x, by a tree in dynamic and shuffles over static shared memory.
KERNEL block_sums(const float* x, float* sums, int n) {
    DYNAMIC_SHARED(float, tree);
    __shared__ float warps[32];
    int t = static_cast<int>(threadIdx.x), i = static_cast<int>(GLOBAL_THREAD);
    tree[t] = i < n ? x[i] : 0;
    __syncthreads();
    for (int k = static_cast<int>(blockDim.x) / 2; k >= 32; k /= 2) {
        if (t < k) {
            tree[t] += tree[t + k];
        }
        __syncthreads();
    }
    float sum = t < 32 ? tree[t] : 0;
    for (int k = 16; k > 0; k /= 2) {
        sum += __shfl_xor_sync(~0u, sum, k);
    }
    if (t % 32 == 0) {
        warps[t / 32] = sum;
    }
    __syncthreads();
    if (t == 0) {
        sums[blockIdx.x] = warps[0];
    }
}

// out = {threads with value > 2, any value > 6, all values > 6}, by votes at the barrier.
KERNEL barrier_votes(const int* values, int* out) {
    int value = values[threadIdx.x];
    int count = __syncthreads_count(value > 2), any = __syncthreads_or(value > 6), all = __syncthreads_and(value > 6);
    if (threadIdx.x == 0) {
        out[0] = count;
        out[1] = any != 0;
        out[2] = all != 0;
    }
}

KERNEL atomic_functions(int* counter, float* sum, int* largest, unsigned long long* wide) {
    atomicAdd(counter, 1);
    atomicAdd(sum, 0.5f);
    atomicMax(largest, static_cast<int>(GLOBAL_THREAD));
    atomicAdd(wide, 1ull << 32);
}

// y = x by asynchronous copies through shared memory, two groups under way; rows of 16 bytes a thread.
KERNEL copy_through_shared(const unsigned char* x, unsigned char* y, int rows) {
    DYNAMIC_SHARED(unsigned char, buffer);
    unsigned step = gridDim.x * blockDim.x;
    unsigned char* slots[2] = {buffer + 16 * threadIdx.x, buffer + 16 * (blockDim.x + threadIdx.x)};
    unsigned row = GLOBAL_THREAD;
    if (row < unsigned(rows)) copy_async_16(slots[0], x + 16 * row);
    copy_async_commit();
    for (unsigned i = 0; row < unsigned(rows); row += step, i ^= 1) {
        if (row + step < unsigned(rows)) copy_async_16(slots[i ^ 1], x + 16 * (row + step));
        copy_async_commit();
        copy_async_wait<1>();
        *reinterpret_cast<int4*>(y + 16 * row) = *reinterpret_cast<const int4*>(slots[i]);
    }
}

#if HAS_INT8_MMA
// c[16][8] += a[16][32] b[8][32]^T, int8, `rounds` times; one product a warp.
KERNEL mma_product(const signed char* a, const signed char* b, int* c, int rounds) {
    unsigned warp = GLOBAL_THREAD / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
    const signed char *own_a = a + 512 * warp, *own_b = b + 256 * warp;
    unsigned fragment_a[4], fragment_b[2];
    for (unsigned i = 0; i < 4; i++) {
        fragment_a[i] = *reinterpret_cast<const unsigned*>(own_a + (group + i % 2 * 8) * 32 + i / 2 * 16 + 4 * member);
    }
    for (unsigned i = 0; i < 2; i++) {
        fragment_b[i] = *reinterpret_cast<const unsigned*>(own_b + group * 32 + i * 16 + 4 * member);
    }
    int* own_c = c + 128 * warp;
    int d[4];
    for (unsigned i = 0; i < 4; i++) {
        d[i] = own_c[(group + i / 2 * 8) * 8 + 2 * member + i % 2];
    }
    for (int r = 0; r < rounds; r++) {
        mma_m16n8k32_s8(d, fragment_a, fragment_b, d);
    }
    for (unsigned i = 0; i < 4; i++) {
        own_c[(group + i / 2 * 8) * 8 + 2 * member + i % 2] = d[i];
    }
}

// c[32][24] += a[32][32] b[24][32]^T, `rounds` times; two by three fragments, one product a warp.
KERNEL mma_products(const signed char* a, const signed char* b, int* c, int rounds) {
    unsigned warp = GLOBAL_THREAD / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
    unsigned fragments_a[2][4], fragments_b[3][2];
    for (unsigned i = 0; i < 8; i++) {
        unsigned row = i / 4 * 16 + group + i % 2 * 8;
        fragments_a[i / 4][i % 4] = *reinterpret_cast<const unsigned*>(a + 1024 * warp + row * 32 + i % 4 / 2 * 16 + 4 * member);
    }
    for (unsigned i = 0; i < 6; i++) {
        unsigned row = i / 2 * 8 + group;
        fragments_b[i / 2][i % 2] = *reinterpret_cast<const unsigned*>(b + 768 * warp + row * 32 + i % 2 * 16 + 4 * member);
    }
    int d[2][3][4] = {};
    for (int r = 0; r < rounds; r++) {
        mma_m16n8k32_s8(d, fragments_a, fragments_b);
    }
    for (unsigned i = 0; i < 24; i++) {
        unsigned row = i / 12 * 16 + group + i % 4 / 2 * 8, column = i / 4 % 3 * 8 + 2 * member + i % 2;
        c[768 * warp + row * 24 + column] += d[i / 12][i / 4 % 3][i % 4];
    }
}
#endif

// --- with a fault

KERNEL store_beyond(float* y, int n) {
    int i = static_cast<int>(GLOBAL_THREAD);
    if (i <= n) {
        y[i] = 1;
    }
}

KERNEL load_before(const float* x, float* y) {
    y[threadIdx.x] = x[static_cast<int>(threadIdx.x) - 1];
}

KERNEL misaligned_load(const float* x, float4* y) {
    y[threadIdx.x] = *reinterpret_cast<const float4*>(x + 1 + 4 * threadIdx.x);
}

KERNEL index_beyond_array(int* y, int i) {
    __shared__ int small[8], other[64];
    other[threadIdx.x % 64] = 0;
    if (threadIdx.x < 8) {
        small[threadIdx.x + i] = 1;
    }
    __syncthreads();
    y[threadIdx.x] = small[threadIdx.x % 8] + other[threadIdx.x % 64];
}

KERNEL beyond_dynamic_shared(int* y) {
    DYNAMIC_SHARED(int, s);
    s[threadIdx.x + 1] = 1;
    y[threadIdx.x] = 0;
}

KERNEL missing_barrier(const float* x, float* y) {
    DYNAMIC_SHARED(float, s);
    unsigned t = threadIdx.x;
    s[t] = x[t];
    y[t] = s[(t + 32) % blockDim.x];
}

KERNEL missing_warp_barrier(const float* x, float* y) {
    __shared__ float s[32];
    unsigned t = threadIdx.x;
    s[t] = x[t];
    y[t] = s[t ^ 1];
}

// The next round writes what others may still read.
KERNEL missing_second_barrier(const float* x, float* y) {
    __shared__ float s[64];
    unsigned t = threadIdx.x;
    for (int round = 0; round < 2; round++) {
        s[t] = x[t] + static_cast<float>(round);
        __syncthreads();
        if (t < 32) {
            y[t] = s[t + 32];
        }
    }
}

KERNEL missing_copy_wait(const unsigned char* x, unsigned char* y) {
    DYNAMIC_SHARED(unsigned char, s);
    unsigned char* own = s + 16 * threadIdx.x;
    copy_async_16(own, x + 16 * threadIdx.x);
    copy_async_commit();
    *reinterpret_cast<int4*>(y + 16 * threadIdx.x) = *reinterpret_cast<const int4*>(own);
}

KERNEL barrier_after_exit(int* y, int n) {
    if (static_cast<int>(threadIdx.x) >= n) {
        return;
    }
    __syncthreads();
    y[threadIdx.x] = 1;
}

KERNEL two_barriers(int* y) {
    if (threadIdx.x < 32) {
        __syncthreads();
        y[threadIdx.x] = 1;
    } else {
        __syncthreads();
        y[threadIdx.x] = 2;
    }
}

KERNEL shuffle_in_branch(int* y) {
    int value = static_cast<int>(threadIdx.x);
    if (threadIdx.x < 7) {
        value = __shfl_xor_sync(~0u, value, 1);
    } else {
        __syncthreads();
    }
    y[threadIdx.x] = value;
}

KERNEL shuffle_outside_mask(int* y) {
    y[threadIdx.x] = __shfl_xor_sync(0xffu, 1, 1);
}

KERNEL deliberate_trap(const int* y) {
    assert(y[threadIdx.x] == 0);
}

KERNEL much_shared(int* y) {
    DYNAMIC_SHARED(int, s);
    s[threadIdx.x] = 1;
    y[threadIdx.x] = s[threadIdx.x];
}

KERNEL nothing(int) {
}
