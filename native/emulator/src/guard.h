// What the guarded build of the kernels is checked against: every access lies within live device memory, the block's shared
// memory or the thread's stack, is aligned, and is ordered with the accesses of other threads to the same shared memory.
// The compiler marks the accesses: -fsanitize=thread calls __tsan_read4(address) and so on, which guard.cpp defines.
#pragma once

#include "fibers.h"
#include "memory.h"

#include <memory>
#include <vector>

namespace emulator {

struct Range {
    const unsigned char* start;
    size_t bytes;

    bool holds(const unsigned char* address, size_t count) const {
        return address >= start && count <= bytes && size_t(address - start) <= bytes - count;
    }
};

// Of a launch: the memory it may touch.
struct GuardedMemory {
    std::vector<Piece> pieces;   // of the device, in the order of addresses
    std::vector<Range> program;  // the module itself: constants
};

struct Shadows;

// Checks what one runner's blocks do. Between begin and end it is that of the calling host thread.
class Guard {
public:
    Guard();
    ~Guard();

    void begin(const BlockRunner& runner, const GuardedMemory& memory, Range static_shared);
    void end();

private:
    std::unique_ptr<Shadows> shadows_;  // of the runner's shared memory; its barriers are counted on from launch to launch
};

// Accesses that the emulator makes for a thread.
void guard_copy(const void* target, const void* source, unsigned bytes, unsigned source_bytes);

}  // namespace emulator
