// Who touched shared memory, and whether an access is ordered with those of other threads before it.
#pragma once

#include "fibers.h"

#include <cstdint>
#include <memory>

namespace emulator {

// When and by whom: number of the barrier, of the warp's latest meeting, and of the thread. The first two only ever grow.
struct Moment {
    unsigned barriers, meetings, thread;
};

struct Race {
    size_t at;          // byte
    unsigned thread;    // the other one
    bool other_wrote;
};

class RaceDetector {
public:
    RaceDetector();
    ~RaceDetector();

    // Notes an access to `bytes` bytes from `offset` on; true with the race if it is not ordered after an earlier one.
    bool races(size_t offset, size_t bytes, bool write, Moment moment, Race& race);

private:
    struct Shadows;
    std::unique_ptr<Shadows> shadows_;
};

}  // namespace emulator
