#include "fibers.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <new>

namespace emulator {

__thread Thread* self __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

__thread BlockRunner* running __attribute__((tls_model("initial-exec"))) = nullptr;

extern "C" void emulator_switch(void** save, void* to);
// Keeps the registers that a call preserves on the old stack and takes them from the new one.
asm(R"(
    .text
    .hidden emulator_switch
    .globl emulator_switch
    .type emulator_switch, @function
emulator_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size emulator_switch, . - emulator_switch
)");

void* map(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    return memory;
}

std::string triple(uint3 v) {
    return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

unsigned lane_bit(unsigned lane) {
    return 1u << lane;
}

}  // namespace

BlockRunner::BlockRunner()
    : stacks_(static_cast<unsigned char*>(map(MOST_THREADS * STACK_BYTES))),
      shared_(static_cast<unsigned char*>(map(MOST_SHARED))),
      fibers_(MOST_THREADS), warps_(MOST_THREADS / WARP) {
    for (unsigned i = 0; i < MOST_THREADS; i++) {
        // an overflow of one stack must not reach the next
        if (mprotect(stacks_ + i * STACK_BYTES, 4096, PROT_NONE) != 0) {
            throw std::bad_alloc();
        }
    }
}

BlockRunner::~BlockRunner() {
    munmap(stacks_, MOST_THREADS * STACK_BYTES);
    munmap(shared_, MOST_SHARED);
}

BlockRunner* BlockRunner::current() {
    return running;
}

bool BlockRunner::on_own_stack(const unsigned char* address) const {
    const unsigned char* low = stacks_ + static_cast<const Fiber*>(self)->stack * STACK_BYTES;
    return address >= low && address < low + STACK_BYTES;
}

std::string BlockRunner::describe(unsigned thread) const {
    return std::string("kernel ") + entry_.name + ", block " + triple(block_.index) + ", thread "
            + triple(fibers_[thread].index);
}

bool BlockRunner::run(const Entry& entry, void** parameters, dim3 grid, dim3 size, uint3 index, size_t shared_bytes,
        Order order) {
    entry_ = entry;
    parameters_ = parameters;
    order_ = order;
    block_ = {index, size, grid, shared_};
    threads_ = size.x * size.y * size.z;
    shared_bytes_ = shared_bytes;
    barriers_++;
    stopped_ = false;
    free_stacks_.clear();
    used_stacks_ = 0;
    unsigned thread = 0;
    for (unsigned z = 0; z < size.z; z++) {
        for (unsigned y = 0; y < size.y; y++) {
            for (unsigned x = 0; x < size.x; x++, thread++) {
                Fiber& fiber = fibers_[thread];
                fiber.index = {x, y, z};
                fiber.lane = thread % WARP;
                fiber.block = &block_;
                fiber.groups = 0;
                fiber.copies.clear();
            }
        }
    }
    unsigned warps = (threads_ + WARP - 1) / WARP;
    for (unsigned w = 0; w < warps; w++) {
        unsigned lanes = std::min(WARP, threads_ - w * WARP);
        unsigned all = lanes == WARP ? ~0u : lane_bit(lanes) - 1;
        warps_[w].fresh = all;
        warps_[w].ready = 0;
        warps_[w].done = ~all;
        warps_[w].at_barrier = 0;
        warps_[w].gatherings.clear();
    }
    vote_count_ = vote_any_ = 0;
    vote_all_ = 1;
    BlockRunner* outer = running;
    running = this;
    do {
        for (unsigned i = 0; i < warps && !stopped_; i++) {
            warp_ = order_.reversed ? warps - 1 - i : i;
            leave(&scheduler_);
        }
    } while (!stopped_ && release_barrier());
    running = outer;
    self = nullptr;
    return !stopped_;
}

// The next lane of the current warp that can run.
bool BlockRunner::next_lane(unsigned warp, unsigned& lane) const {
    unsigned runnable = warps_[warp].fresh | warps_[warp].ready;
    if (runnable == 0) {
        return false;
    }
    lane = order_.reversed ? 31 - __builtin_clz(runnable) : __builtin_ctz(runnable);
    return true;
}

// Gives the processor to the next lane of the warp, or to the scheduler when none can run; returns when resumed.
void BlockRunner::leave(void** save) {
    unsigned lane;
    if (!next_lane(warp_, lane)) {
        if (save != &scheduler_) {
            emulator_switch(save, scheduler_);
        }
        return;
    }
    Warp& warp = warps_[warp_];
    unsigned next = warp_ * WARP + lane;
    if (warp.ready & lane_bit(lane)) {
        warp.ready &= ~lane_bit(lane);
        self = &fibers_[next];
        emulator_switch(save, fibers_[next].stack_pointer);
    } else {
        start(next, save);
    }
}

// Starts a thread on a stack of its own.
void BlockRunner::start(unsigned thread, void** save) {
    unsigned stack = used_stacks_;
    if (free_stacks_.empty()) {
        used_stacks_++;
    } else {
        stack = free_stacks_.back();
        free_stacks_.pop_back();
    }
    fibers_[thread].stack = stack;
    warps_[thread / WARP].fresh &= ~lane_bit(thread % WARP);
    // their tops are spread over the sets of the caches; six registers and the address of carry() are popped
    void** top = reinterpret_cast<void**>(stacks_ + (stack + 1) * STACK_BYTES - 64 - stack * 448 % (STACK_BYTES / 2));
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&BlockRunner::carry);
    top -= 6;
    self = &fibers_[thread];
    emulator_switch(save, top);
}

// Runs threads on one stack for as long as they come to their end without another one being left in the middle.
void BlockRunner::carry() {
    BlockRunner& runner = *running;
    for (;;) {
        runner.entry_.run(runner.parameters_);
        runner.finish_thread();
    }
}

void BlockRunner::finish_thread() {
    Fiber& fiber = *static_cast<Fiber*>(self);
    if (!fiber.copies.empty()) {
        copy_async_commit();
        copy_async_wait(0);
    }
    Warp& warp = warps_[warp_];
    warp.done |= lane_bit(fiber.lane);
    for (size_t i = 0; i < warp.gatherings.size(); i++) {
        Gathering& gathering = warp.gatherings[i];
        if ((gathering.mask & ~warp.done & ~gathering.arrived) == 0) {
            complete(warp, i--);
        }
    }
    unsigned lane;
    if (next_lane(warp_, lane) && !(warp.ready & lane_bit(lane))) {
        Fiber& next = fibers_[warp_ * WARP + lane];
        warp.fresh &= ~lane_bit(lane);
        next.stack = fiber.stack;
        self = &next;
        return;
    }
    free_stacks_.push_back(fiber.stack);
    leave(&fiber.stack_pointer);
    __builtin_unreachable();
}

int BlockRunner::wait_at_barrier(Vote vote, int value, int line) {
    Fiber& fiber = *static_cast<Fiber*>(self);
    fiber.line = line;
    vote_ = vote;
    vote_any_ |= value != 0;
    vote_all_ &= value != 0;
    vote_count_ += value != 0;
    warps_[warp_].at_barrier |= lane_bit(fiber.lane);
    leave(&fiber.stack_pointer);
    return vote_result_;  // changes only after all threads have come to the next barrier
}

// After every warp has run as far as it can: lets the threads at the barrier go on; false when the block has ended.
bool BlockRunner::release_barrier() {
    unsigned warps = (threads_ + WARP - 1) / WARP, waiting = 0, done = 0;
    int line = 0;
    bool one_line = true;
    for (unsigned i = 0; i < threads_; i++) {
        const Warp& warp = warps_[i / WARP];
        if (warp.at_barrier & lane_bit(i % WARP)) {
            one_line &= waiting == 0 || fibers_[i].line == line;
            line = fibers_[i].line;
            waiting++;
        }
        done += warp.done >> i % WARP & 1;
    }
    if (done == threads_) {
        return false;
    }
    if (waiting != threads_ || !one_line) {
        report_stuck();
        return false;
    }
    vote_result_ = vote_ == Vote::any ? vote_any_ : vote_ == Vote::all ? vote_all_ : vote_ == Vote::count ? vote_count_ : 0;
    vote_count_ = vote_any_ = 0;
    vote_all_ = 1;
    barriers_++;
    for (unsigned w = 0; w < warps; w++) {
        warps_[w].ready = warps_[w].at_barrier;
        warps_[w].at_barrier = 0;
    }
    return true;
}

// Tells where the threads of a block wait for each other in vain.
void BlockRunner::report_stuck() {
    std::string text = std::string("kernel ") + entry_.name + ", block " + triple(block_.index)
            + ": threads of the block wait for each other for ever:";
    std::vector<std::pair<std::string, unsigned>> places;
    for (unsigned i = 0; i < threads_; i++) {
        const Warp& warp = warps_[i / WARP];
        unsigned bit = lane_bit(i % WARP);
        std::string place = "in an unknown place";
        if (warp.done & bit) {
            place = "have exited";
        } else if (warp.at_barrier & bit) {
            place = "wait at the barrier of line " + std::to_string(fibers_[i].line);
        } else {
            for (const Gathering& gathering : warp.gatherings) {
                if (gathering.arrived & bit) {
                    place = "wait for their warp in line " + std::to_string(gathering.line);
                }
            }
        }
        bool found = false;
        for (auto& known : places) {
            if (known.first == place) {
                known.second++;
                found = true;
            }
        }
        if (!found) {
            places.emplace_back(place, 1);
        }
    }
    for (size_t i = 0; i < places.size(); i++) {
        text += (i ? ", " : " ") + std::to_string(places[i].second) + " " + places[i].first;
    }
    stopped_ = true;
    fault_ = {719, text, nullptr};
}

void BlockRunner::gather(unsigned mask, Collective collective, void* operand, int line) {
    Fiber& fiber = *static_cast<Fiber*>(self);
    Warp& warp = warps_[warp_];
    unsigned bit = lane_bit(fiber.lane);
    if (!(mask & bit)) {
        stop(719, "the mask of line " + std::to_string(line) + " lacks the lane that calls it");
    }
    fiber.operand = operand;
    size_t found = 0;
    while (found < warp.gatherings.size() && warp.gatherings[found].mask != mask) {
        if (warp.gatherings[found].mask & bit) {
            break;
        }
        found++;
    }
    if (found == warp.gatherings.size()) {
        warp.gatherings.push_back({mask, 0, collective, line});
    }
    Gathering& gathering = warp.gatherings[found];
    if (gathering.mask != mask || gathering.collective != collective || gathering.line != line) {
        stop(719, "lanes of one warp wait for each other in different places: lines " + std::to_string(gathering.line)
                + " and " + std::to_string(line));
    }
    gathering.arrived |= bit;
    if ((mask & ~warp.done & ~gathering.arrived) == 0) {
        complete(warp, found);
        warp.ready &= ~bit;
        return;
    }
    leave(&fiber.stack_pointer);
}

// Does for all its lanes at once what a gathering was for.
void BlockRunner::complete(Warp& warp, size_t index) {
    Gathering gathering = warp.gatherings[index];
    warp.gatherings.erase(warp.gatherings.begin() + long(index));
    warp.epoch++;
    warp.ready |= gathering.arrived;
    if (gathering.collective != nullptr) {
        void* operands[WARP];
        for (unsigned lane = 0; lane < WARP; lane++) {
            operands[lane] = gathering.arrived & lane_bit(lane) ? fibers_[warp_ * WARP + lane].operand : nullptr;
        }
        gathering.collective(operands, gathering.arrived);
    }
}

void BlockRunner::stop(int code, const std::string& text, const void* place) {
    stopped_ = true;
    fault_ = {code, describe(thread()) + ": " + text, place};
    void* abandoned;
    emulator_switch(&abandoned, scheduler_);
    __builtin_unreachable();
}

}  // namespace emulator
