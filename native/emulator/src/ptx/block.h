// One block at a time on one host thread, warp by warp: a warp runs until it waits for the rest of the block.
#pragma once

#include "../guard.h"
#include "warp.h"

namespace emulator::ptx {

class Counter;

// How the lanes of a warp that have gone different ways come together again. The language promises nothing before an
// instruction that makes them; a device's compiler lets them meet where the ways do.
enum class Meeting { early, late };

struct Launch {
    const Code* code;
    const unsigned char* parameters;
    dim3 grid, size;
    size_t shared_bytes;         // dynamic
    bool reversed;               // warps, and late ways, from the last to the first
    Meeting meeting;
    uint64_t seed;               // of what approximations may answer
    const MemoryMap* memory;
    bool guarded;                // looks for races in shared memory
};

class BlockOfWarps {
public:
    BlockOfWarps();
    ~BlockOfWarps();
    BlockOfWarps(const BlockOfWarps&) = delete;
    BlockOfWarps& operator=(const BlockOfWarps&) = delete;

    // What the following blocks have in common; `counter` may be null.
    void begin(const Launch& launch, Counter* counter);
    // Runs all threads of a block; returns false and leaves a fault if it could not be finished.
    bool run(uint3 index);

    const Fault& fault() const { return fault_; }

    // --- for the handlers
    const Launch& launch() const { return *launch_; }
    unsigned char* shared() const { return shared_; }
    size_t shared_bytes() const { return launch_->code->shared_bytes + launch_->shared_bytes; }
    std::string describe(unsigned thread) const;
    unsigned barriers() const { return barriers_; }
    RaceDetector& races() { return *races_; }
    // The piece of device memory that holds a range, kept for the next access; null if none does.
    const Piece* piece_of(uintptr_t address, size_t bytes);

private:
    void start_warps(uint3 index);
    template <bool COUNTED> void run_path(Warp& warp, Path path);
    bool pick(Warp& warp, Path& path);
    bool gather(Warp& warp, const Operation& operation, Path& path);
    void release_barriers();
    bool release_barrier(uint32_t number);
    [[noreturn]] void report_stuck();

    const Launch* launch_ = nullptr;
    Counter* counter_ = nullptr;
    std::vector<unsigned char> registers_, local_;
    unsigned char* shared_;
    std::vector<Warp> warps_;
    unsigned threads_ = 0, barriers_ = 0;
    uint3 index_{};
    bool released_ = false;
    std::unique_ptr<RaceDetector> races_;
    Piece recent_[4] = {};
    unsigned next_recent_ = 0;
    Fault fault_;
};

}  // namespace emulator::ptx
