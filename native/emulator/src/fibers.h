// One block at a time on one host thread: its threads are fibres that run until they wait.
#pragma once

#include "../include/execution.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

constexpr unsigned WARP = 32;
constexpr size_t STACK_BYTES = 128 << 10;
constexpr unsigned MOST_THREADS = 1024;
constexpr size_t MOST_SHARED = 227 << 10;
constexpr size_t SHARED_WITHOUT_OPT_IN = 48 << 10;

// Why a block stopped: a line for people, and the code that the driver then answers with.
struct Fault {
    int code;
    std::string text;
    const void* place = nullptr;  // in the kernel's code, where known
};

using Collective = void (*)(void** operands, unsigned lanes);

struct PendingCopy {
    void* target;
    const void* source;
    unsigned bytes, source_bytes, group;
};

struct Fiber : Thread {
    void* stack_pointer;
    unsigned stack;          // which stack it runs on, once it has started
    void* operand;           // of the collective it waits in
    int line;                // of the barrier it waits at
    unsigned groups;         // asynchronous copies committed
    std::vector<PendingCopy> copies;
};

// Lanes that wait for the rest of a mask.
struct Gathering {
    unsigned mask, arrived;
    Collective collective;
    int line;
};

struct Warp {
    unsigned fresh, ready, done, at_barrier;  // bits of lanes
    unsigned epoch;                           // counts what orders the lanes among themselves
    std::vector<Gathering> gatherings;
};

// Runs blocks on the calling host thread, one after the other.
class BlockRunner {
public:
    BlockRunner();
    ~BlockRunner();
    BlockRunner(const BlockRunner&) = delete;
    BlockRunner& operator=(const BlockRunner&) = delete;

    struct Order {
        bool reversed;  // warps and lanes from the last to the first
    };

    // Runs all threads of a block; returns false and leaves a fault if it could not be finished.
    bool run(const Entry& entry, void** parameters, dim3 grid, dim3 size, uint3 index, size_t shared_bytes, Order order);

    const Fault& fault() const { return fault_; }
    unsigned char* shared() const { return shared_; }
    size_t shared_bytes() const { return shared_bytes_; }
    // Whether an address is on the stack of the running thread.
    bool on_own_stack(const unsigned char* address) const;
    // Number of the running thread in its block, and counters of what orders it with others: they only ever grow.
    unsigned thread() const { return unsigned(static_cast<const Fiber*>(self) - fibers_.data()); }
    unsigned barriers() const { return barriers_; }
    unsigned warp_epoch() const { return warps_[warp_].epoch; }
    std::string describe(unsigned thread) const;

    // Called by the running thread.
    int wait_at_barrier(Vote vote, int value, int line);
    void gather(unsigned mask, Collective collective, void* operand, int line);
    [[noreturn]] void stop(int code, const std::string& text, const void* place = nullptr);

    static BlockRunner* current();

private:
    static void carry();
    void finish_thread();
    void leave(void** save);
    void start(unsigned thread, void** save);
    bool next_lane(unsigned warp, unsigned& lane) const;
    void complete(Warp& warp, size_t gathering);
    bool release_barrier();
    void report_stuck();

    unsigned char* stacks_;
    unsigned char* shared_;
    std::vector<Fiber> fibers_;
    std::vector<Warp> warps_;
    std::vector<unsigned> free_stacks_;  // of those below used_stacks_
    unsigned used_stacks_ = 0;
    Block block_;
    Entry entry_;
    void** parameters_;
    Order order_;
    size_t shared_bytes_ = 0;
    unsigned threads_ = 0, warp_ = 0, barriers_ = 0;
    Vote vote_ = Vote::none;
    int vote_any_ = 0, vote_all_ = 1, vote_count_ = 0, vote_result_ = 0;
    void* scheduler_ = nullptr;
    bool stopped_ = false;
    Fault fault_;
};

}  // namespace emulator
