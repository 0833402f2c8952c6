// The CUDA language as g++ understands it: a kernel's .cu file compiles unchanged when this is included before it.
// Threads are fibres (src/fibers.cpp); everything with a warp or a block in it is a call into libcuda.so.1's stand-in.
#pragma once

#include <algorithm>
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "execution.h"

#ifndef __CUDA_ARCH__
#error "compile with -D__CUDA_ARCH__=750 or 800"
#endif

#ifdef EMULATOR_LISTING
#define __global__ EMULATED_KERNEL
#else
#define __global__
#endif
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static thread_local  // a host thread runs one block at a time
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __restrict__ __restrict

#define EMULATED_VECTOR(scalar, name, bytes) \
    struct alignas(2 * (bytes)) name##2 { scalar x, y; }; \
    struct name##3 { scalar x, y, z; }; \
    struct alignas(4 * (bytes) < 16 ? 4 * (bytes) : 16) name##4 { scalar x, y, z, w; }; \
    inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; } \
    inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; } \
    inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }
EMULATED_VECTOR(signed char, char, 1)
EMULATED_VECTOR(unsigned char, uchar, 1)
EMULATED_VECTOR(short, short, 2)
EMULATED_VECTOR(unsigned short, ushort, 2)
EMULATED_VECTOR(int, int, 4)
EMULATED_VECTOR(float, float, 4)
EMULATED_VECTOR(long long, longlong, 8)
EMULATED_VECTOR(double, double, 8)
#undef EMULATED_VECTOR
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Functions of the emulator itself in the guarded build, whose accesses are not the kernel's.
#define EMULATOR_OWN __attribute__((no_sanitize("thread", "undefined")))

namespace emulator {

EMULATOR_OWN inline uint3 thread_index() { return self->index; }
EMULATOR_OWN inline uint3 block_index() { return self->block->index; }
EMULATOR_OWN inline dim3 block_size() { return self->block->size; }
EMULATOR_OWN inline dim3 grid_size() { return self->block->grid; }
EMULATOR_OWN inline unsigned lane() { return self->lane; }
EMULATOR_OWN inline unsigned char* dynamic_shared() { return self->block->shared; }

template <class T> inline uint64_t bits(T value) {
    static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
    uint64_t result = 0;
    memcpy(&result, &value, sizeof(T));
    return result;
}

template <class T> inline T from_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof(T));
    return value;
}

template <class T, class F> EMULATOR_OWN inline T atomic_update(T* address, F update) {
    check_atomic(address, sizeof(T));
    using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    static_assert(sizeof(T) == sizeof(Word), "atomics work on 4 or 8 bytes");
    Word* word = reinterpret_cast<Word*>(address);
    Word before = __atomic_load_n(word, __ATOMIC_RELAXED);
    for (;;) {
        Word after = static_cast<Word>(bits(update(from_bits<T>(before))));
        if (__atomic_compare_exchange_n(word, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            return from_bits<T>(before);
        }
    }
}

template <class... A, size_t... I>
EMULATOR_OWN inline void call(void (*kernel)(A...), void** parameters, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(parameters[I])...);
}

template <auto kernel> struct Kernel;
template <class... A, void (*kernel)(A...)> struct Kernel<kernel> {
    static constexpr unsigned sizes[] = {sizeof(A)..., 0};
    EMULATOR_OWN static void run(void** parameters) { call(kernel, parameters, std::index_sequence_for<A...>{}); }
    static constexpr Entry entry(const char* name) { return {name, run, sizeof...(A), sizes}; }
};

}  // namespace emulator

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())
#define warpSize 32
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::dynamic_shared())

#define __syncthreads() emulator::barrier(emulator::Vote::none, 0, __LINE__)
#define __syncthreads_or(value) emulator::barrier(emulator::Vote::any, value, __LINE__)
#define __syncthreads_and(value) emulator::barrier(emulator::Vote::all, value, __LINE__)
#define __syncthreads_count(value) emulator::barrier(emulator::Vote::count, value, __LINE__)
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) { emulator::warp_barrier(mask, line); }
inline unsigned __activemask() { return emulator::active_lanes(); }

template <class T> inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, int line = __builtin_LINE()) {
    unsigned from = (emulator::lane() & ~(width - 1u)) | (static_cast<unsigned>(lane) & (width - 1u));
    return emulator::from_bits<T>(emulator::shuffle(mask, emulator::bits(value), from, line));
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, int line = __builtin_LINE()) {
    unsigned own = emulator::lane(), from = own ^ static_cast<unsigned>(bits);
    if ((from & ~(width - 1u)) > (own & ~(width - 1u))) from = own;
    return emulator::from_bits<T>(emulator::shuffle(mask, emulator::bits(value), from, line));
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
    unsigned own = emulator::lane(), from = (own & (width - 1u)) + delta >= unsigned(width) ? own : own + delta;
    return emulator::from_bits<T>(emulator::shuffle(mask, emulator::bits(value), from, line));
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
    unsigned own = emulator::lane(), from = (own & (width - 1u)) < delta ? own : own - delta;
    return emulator::from_bits<T>(emulator::shuffle(mask, emulator::bits(value), from, line));
}
inline unsigned __ballot_sync(unsigned mask, int value, int line = __builtin_LINE()) {
    return emulator::ballot(mask, value != 0, line);
}
inline int __any_sync(unsigned mask, int value, int line = __builtin_LINE()) {
    return emulator::ballot(mask, value != 0, line) != 0;
}
inline int __all_sync(unsigned mask, int value, int line = __builtin_LINE()) {
    return emulator::ballot(mask, value == 0, line) == 0;
}
#define EMULATED_REDUCTION(name, type, reduction) \
    inline type name(unsigned mask, type value, int line = __builtin_LINE()) { \
        return static_cast<type>(emulator::reduce(mask, static_cast<unsigned>(value), emulator::Reduction::reduction, line)); \
    }
#if __CUDA_ARCH__ >= 800
EMULATED_REDUCTION(__reduce_add_sync, int, add)
EMULATED_REDUCTION(__reduce_add_sync, unsigned, add)
EMULATED_REDUCTION(__reduce_min_sync, int, min_signed)
EMULATED_REDUCTION(__reduce_max_sync, int, max_signed)
EMULATED_REDUCTION(__reduce_min_sync, unsigned, min_unsigned)
EMULATED_REDUCTION(__reduce_max_sync, unsigned, max_unsigned)
EMULATED_REDUCTION(__reduce_and_sync, unsigned, bit_and)
EMULATED_REDUCTION(__reduce_or_sync, unsigned, bit_or)
EMULATED_REDUCTION(__reduce_xor_sync, unsigned, bit_xor)
#endif
#undef EMULATED_REDUCTION

inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) {
        c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
    }
    return c;
}

template <class T> inline T atomicAdd(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return T(old + v); }); }
template <class T> inline T atomicSub(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return T(old - v); }); }
template <class T> inline T atomicMax(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return old < v ? v : old; }); }
template <class T> inline T atomicMin(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return v < old ? v : old; }); }
template <class T> inline T atomicAnd(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return T(old & v); }); }
template <class T> inline T atomicOr(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return T(old | v); }); }
template <class T> inline T atomicXor(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T old) { return T(old ^ v); }); }
template <class T> inline T atomicExch(T* p, std::common_type_t<T> v) { return emulator::atomic_update(p, [=](T) { return T(v); }); }
template <class T> inline T atomicCAS(T* p, std::common_type_t<T> expected, std::common_type_t<T> v) {
    return emulator::atomic_update(p, [=](T old) { return emulator::bits(old) == emulator::bits(T(expected)) ? T(v) : old; });
}
inline void __threadfence() { emulator::fence(); }
inline void __threadfence_block() { emulator::fence(); }
inline void __threadfence_system() { emulator::fence(); }
#define __trap() emulator::trap("trap", __FILE__, __LINE__)
#undef assert
#define assert(condition) ((condition) ? void(0) : emulator::trap(#condition, __FILE__, __LINE__))

template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline void __stcs(T* p, T value) { *p = value; }
template <class T> inline void __stcg(T* p, T value) { *p = value; }

// Arithmetic; the build forbids contraction, so these are the operations written.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fdividef(float a, float b) { return a / b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float rsqrtf(float a) { return 1 / sqrtf(a); }
inline double rsqrt(double a) { return 1 / sqrt(a); }
#undef __expf
inline float __expf(float a) { return expf(a); }
inline float __logf(float a) { return logf(a); }
using std::isfinite;
using std::isinf;
using std::isnan;

// Conversions of out-of-range values saturate and NaN gives zero, as on the device.
namespace emulator {
template <class I, class F> inline I saturate(F rounded) {
    constexpr F low = static_cast<F>(std::numeric_limits<I>::min()), high = static_cast<F>(std::numeric_limits<I>::max());
    return rounded != rounded ? I(0) : rounded <= low ? std::numeric_limits<I>::min()
            : rounded >= high ? std::numeric_limits<I>::max() : static_cast<I>(rounded);
}
}
inline int __float2int_rn(float a) { return emulator::saturate<int>(nearbyintf(a)); }
inline int __float2int_rz(float a) { return emulator::saturate<int>(truncf(a)); }
inline int __float2int_rd(float a) { return emulator::saturate<int>(floorf(a)); }
inline int __float2int_ru(float a) { return emulator::saturate<int>(ceilf(a)); }
inline unsigned __float2uint_rn(float a) { return emulator::saturate<unsigned>(nearbyintf(a)); }
inline long long __float2ll_rn(float a) { return emulator::saturate<long long>(nearbyintf(a)); }
inline int __double2int_rn(double a) { return emulator::saturate<int>(nearbyint(a)); }
inline long long __double2ll_rn(double a) { return emulator::saturate<long long>(nearbyint(a)); }
inline float __double2float_rn(double a) { return static_cast<float>(a); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline float __ll2float_rn(long long a) { return static_cast<float>(a); }
inline double __int2double_rn(int a) { return a; }
inline float __int_as_float(int a) { return emulator::from_bits<float>(emulator::bits(a)); }
inline float __uint_as_float(unsigned a) { return emulator::from_bits<float>(emulator::bits(a)); }
inline int __float_as_int(float a) { return emulator::from_bits<int>(emulator::bits(a)); }
inline unsigned __float_as_uint(float a) { return emulator::from_bits<unsigned>(emulator::bits(a)); }
inline long long __double_as_longlong(double a) { return emulator::from_bits<long long>(emulator::bits(a)); }
inline double __longlong_as_double(long long a) { return emulator::from_bits<double>(emulator::bits(a)); }

inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a)); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned choice = selector >> 4 * i & 15, byte = static_cast<unsigned>(both >> 8 * (choice & 7)) & 255;
        if (choice & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}

using std::max;
using std::min;
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline long long max(long long a, int b) { return a < b ? b : a; }
inline long long min(long long a, int b) { return a < b ? a : b; }
inline long long max(int a, long long b) { return a < b ? b : a; }
inline long long min(int a, long long b) { return a < b ? a : b; }
