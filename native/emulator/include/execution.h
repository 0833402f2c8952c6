// Where kernels and the stand-in for libcuda.so.1 meet: what a thread knows of itself, and what it may ask for.
#pragma once

#include <cstddef>
#include <cstdint>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1) : x(width), y(height), z(depth) {}
};

namespace emulator {

struct Block {
    uint3 index;
    dim3 size, grid;
    unsigned char* shared;  // dynamic shared memory
};

struct Thread {
    uint3 index;
    unsigned lane;
    Block* block;
};

// The running thread. Fibres stay on their host thread, so its address may be kept over a barrier.
extern __thread Thread* self __attribute__((tls_model("initial-exec")));

// Every collective takes the line it was called on: threads that wait on different lines do not wait for each other.
enum class Vote { none, any, all, count };
int barrier(Vote vote, int value, int line);
void warp_barrier(unsigned mask, int line);
uint64_t shuffle(unsigned mask, uint64_t value, unsigned lane, int line);
unsigned ballot(unsigned mask, bool value, int line);
enum class Reduction { add, min_signed, max_signed, min_unsigned, max_unsigned, bit_and, bit_or, bit_xor };
unsigned reduce(unsigned mask, unsigned value, Reduction reduction, int line);
unsigned active_lanes();

// D += A B for a whole warp, fragments as the PTX ISA lays them out for mma.m16n8k32 of s8: `rows` of A, `columns` of B, and
// of D all pairs of them, those of one fragment of A side by side.
void mma_m16n8k32_s8(int (*d)[4], const unsigned (*a)[4], const unsigned (*b)[2], int rows, int columns, int line);

// cp.async: the bytes arrive when the thread waits for their group; until then the target holds garbage.
void copy_async(void* target, const void* source, unsigned bytes, unsigned source_bytes);
void copy_async_commit();
void copy_async_wait(unsigned groups_left);

// Address of an atomic operation, checked in the guarded build.
void check_atomic(const void* address, unsigned bytes);
void fence();
[[noreturn]] void trap(const char* what, const char* file, int line);

// What a module tells of each of its kernels.
struct Entry {
    const char* name;
    void (*run)(void** parameters);
    unsigned parameters;
    const unsigned* sizes;  // bytes of each parameter
};

}  // namespace emulator
