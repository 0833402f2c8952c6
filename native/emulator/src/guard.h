// What the guarded build of the kernels is checked against: every access lies within live device memory, the block's shared
// memory or the thread's stack, is aligned, and is ordered with the accesses of other threads to the same shared memory.
// The compiler marks the accesses: -fsanitize=thread calls __tsan_read4(address) and so on, which guard.cpp defines.
#pragma once

#include "fibers.h"
#include "memory.h"
#include "races.h"

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
    MemoryMap pieces;            // of the device
    std::vector<Range> program;  // the module itself: constants
};

// A race in words, up to who the other thread was.
std::string describe(const Race& race, bool write, const char* kind);

// Checks what one runner's blocks do. Between begin and end it is that of the calling host thread.
class Guard {
public:
    void begin(const BlockRunner& runner, const GuardedMemory& memory, Range static_shared);
    void end();

private:
    RaceDetector dynamic_, fixed_;  // of the runner's shared memory; its barriers are counted on from launch to launch
};

// Accesses that the emulator makes for a thread.
void guard_copy(const void* target, const void* source, unsigned bytes, unsigned source_bytes);

}  // namespace emulator
