// What all families of kernels share. A .cu is compiled by nvcc for the GPU and by g++ for the emulated one
// (native/emulator), so what only one of them understands stands here, both versions side by side.
#pragma once

// Every kernel is an entry under its plain name.
#define KERNEL extern "C" __global__ void

#ifndef PTQ4VIT_EMULATOR

// Shared memory whose size the launch gives.
#define DYNAMIC_SHARED(type, name) \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared)

#endif

// Before loops over what a thread keeps in registers: they only stay there if every index is known.
#ifdef PTQ4VIT_EMULATOR
#define UNROLLED
#else
#define UNROLLED _Pragma("unroll")
#endif

// Whether this target multiplies int8 in tensor cores; below sm_80 use __dp4a.
#if __CUDA_ARCH__ >= 800
#define HAS_INT8_MMA 1
#else
#define HAS_INT8_MMA 0
#endif

#if HAS_INT8_MMA
// D = A B + C for one warp: A [16, 32] row-major, B [32, 8] column-major, both int8; C, D [16, 8] int32. All 32 lanes call it.
// With group = lane / 4 and member = lane % 4, byte i of a word counts from its lowest:
//   a[0] A[group][4 member + i]       a[1] A[group + 8][4 member + i]
//   a[2] A[group][16 + 4 member + i]  a[3] A[group + 8][16 + 4 member + i]
//   b[0] B[4 member + i][group]       b[1] B[16 + 4 member + i][group]
//   c, d [0], [1]: [group][2 member], [group][2 member + 1]; [2], [3]: the same of row group + 8
// Source: PTX ISA, "Matrix fragments for mma.m16n8k32".
__device__ __forceinline__ void mma_m16n8k32_s8(int d[4], const unsigned a[4], const unsigned b[2], const int c[4]) {
#ifdef PTQ4VIT_EMULATOR
    for (int i = 0; i < 4; i++) {
        d[i] = c[i];
    }
    emulator::mma_m16n8k32_s8(reinterpret_cast<int(*)[4]>(d), reinterpret_cast<const unsigned(*)[4]>(a),
                              reinterpret_cast<const unsigned(*)[2]>(b), 1, 1, __LINE__);
#else
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#endif
}

// The same for fragments of A one below the other and of B side by side: D += A B, at most 8 x 8 of them. On the emulated GPU
// the lanes of a warp then meet once and not for each product, which is most of the time of a product there.
template <int ROWS, int COLUMNS>
__device__ __forceinline__ void mma_m16n8k32_s8(int (&d)[ROWS][COLUMNS][4], const unsigned (&a)[ROWS][4],
                                                const unsigned (&b)[COLUMNS][2]) {
#ifdef PTQ4VIT_EMULATOR
    emulator::mma_m16n8k32_s8(d[0], a, b, ROWS, COLUMNS, __LINE__);
#else
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            mma_m16n8k32_s8(d[i][j], a[i], b[j], d[i][j]);
        }
    }
#endif
}
#endif

// Starts to copy 16 bytes from global to shared memory, both addresses multiples of 16; of the source only the first
// `source_bytes` are read, the rest is zero. The bytes are there after copy_async_wait and a barrier; below sm_80 at once.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, unsigned source_bytes = 16) {
#ifdef PTQ4VIT_EMULATOR
    emulator::copy_async(shared, global, 16, source_bytes);
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
        :: "r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))), "l"(global), "r"(source_bytes) : "memory");
#else
    unsigned char* to = static_cast<unsigned char*>(shared);
    const unsigned char* from = static_cast<const unsigned char*>(global);
    if (source_bytes == 16) {
        *reinterpret_cast<int4*>(to) = *reinterpret_cast<const int4*>(from);
    } else {
        for (unsigned i = 0; i < 16; i++) {
            to[i] = i < source_bytes ? from[i] : 0;
        }
    }
#endif
}

// Makes one group of the copies this thread has started since the last group.
__device__ __forceinline__ void copy_async_commit() {
#ifdef PTQ4VIT_EMULATOR
    emulator::copy_async_commit();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `groups_left` of this thread's latest groups are under way.
template <int groups_left> __device__ __forceinline__ void copy_async_wait() {
#ifdef PTQ4VIT_EMULATOR
    emulator::copy_async_wait(groups_left);
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" :: "n"(groups_left) : "memory");
#endif
}
