// What kernels call: barriers, shuffles, votes, asynchronous copies.
#include "fibers.h"
#include "guard.h"

#include <cstring>

namespace emulator {

namespace {

struct Shuffle {
    uint64_t value, result;
    unsigned lane;
};

void do_shuffle(void** operands, unsigned lanes) {
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (lanes >> lane & 1) {
            auto* own = static_cast<Shuffle*>(operands[lane]);
            // the value of a lane that does not take part is undefined
            own->result = lanes >> own->lane & 1 ? static_cast<Shuffle*>(operands[own->lane])->value : ~uint64_t(0);
        }
    }
}

struct Ballot {
    bool value;
    unsigned result;
};

void do_ballot(void** operands, unsigned lanes) {
    unsigned result = 0;
    for (unsigned lane = 0; lane < WARP; lane++) {
        result |= lanes >> lane & 1 ? unsigned(static_cast<Ballot*>(operands[lane])->value) << lane : 0;
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (lanes >> lane & 1) {
            static_cast<Ballot*>(operands[lane])->result = result;
        }
    }
}

struct Reduced {
    unsigned value, result;
    Reduction reduction;
};

unsigned combine(Reduction reduction, unsigned a, unsigned b) {
    switch (reduction) {
        case Reduction::add: return a + b;
        case Reduction::min_signed: return unsigned(std::min(int(a), int(b)));
        case Reduction::max_signed: return unsigned(std::max(int(a), int(b)));
        case Reduction::min_unsigned: return std::min(a, b);
        case Reduction::max_unsigned: return std::max(a, b);
        case Reduction::bit_and: return a & b;
        case Reduction::bit_or: return a | b;
        case Reduction::bit_xor: return a ^ b;
    }
    return 0;
}

void do_reduce(void** operands, unsigned lanes) {
    bool first = true;
    unsigned result = 0;
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (lanes >> lane & 1) {
            auto* own = static_cast<Reduced*>(operands[lane]);
            result = first ? own->value : combine(own->reduction, result, own->value);
            first = false;
        }
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (lanes >> lane & 1) {
            static_cast<Reduced*>(operands[lane])->result = result;
        }
    }
}

}  // namespace

int barrier(Vote vote, int value, int line) {
    return BlockRunner::current()->wait_at_barrier(vote, value, line);
}

void warp_barrier(unsigned mask, int line) {
    BlockRunner::current()->gather(mask, nullptr, nullptr, line);
}

uint64_t shuffle(unsigned mask, uint64_t value, unsigned lane, int line) {
    Shuffle operand{value, 0, lane % WARP};
    BlockRunner::current()->gather(mask, do_shuffle, &operand, line);
    return operand.result;
}

unsigned ballot(unsigned mask, bool value, int line) {
    Ballot operand{value, 0};
    BlockRunner::current()->gather(mask, do_ballot, &operand, line);
    return operand.result;
}

unsigned reduce(unsigned mask, unsigned value, Reduction reduction, int line) {
    Reduced operand{value, 0, reduction};
    BlockRunner::current()->gather(mask, do_reduce, &operand, line);
    return operand.result;
}

void copy_async(void* target, const void* source, unsigned bytes, unsigned source_bytes) {
    auto* fiber = static_cast<Fiber*>(self);
    if (reinterpret_cast<uintptr_t>(target) % bytes || reinterpret_cast<uintptr_t>(source) % bytes) {
        BlockRunner::current()->stop(716, "asynchronous copy of " + std::to_string(bytes) + " bytes at a misaligned address");
    }
    guard_copy(target, source, bytes, source_bytes);
    memset(target, 0xff, bytes);
    fiber->copies.push_back({target, source, bytes, source_bytes, fiber->groups});
}

void copy_async_commit() {
    static_cast<Fiber*>(self)->groups++;
}

void copy_async_wait(unsigned groups_left) {
    auto* fiber = static_cast<Fiber*>(self);
    auto& copies = fiber->copies;
    size_t done = 0;
    for (; done < copies.size() && copies[done].group + groups_left < fiber->groups; done++) {
        const PendingCopy& copy = copies[done];
        guard_copy(copy.target, copy.source, copy.bytes, copy.source_bytes);
        memcpy(copy.target, copy.source, copy.source_bytes);
        memset(static_cast<char*>(copy.target) + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    }
    copies.erase(copies.begin(), copies.begin() + long(done));
}

void fence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

unsigned active_lanes() {
    // lanes run one after the other
    return 1u << self->lane;
}

void trap(const char* what, const char* file, int line) {
    BlockRunner::current()->stop(710, std::string(what) + " failed in " + file + ":" + std::to_string(line));
}

}  // namespace emulator
