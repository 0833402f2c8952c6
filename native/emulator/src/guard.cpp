#include "guard.h"
#include "api.h"

#include <cstdio>
#include <cstdlib>

namespace emulator {

namespace {

struct State {
    static constexpr unsigned RECENT = 4;

    const BlockRunner* runner;
    const GuardedMemory* memory;
    Range static_shared;
    RaceDetector *dynamic_races, *static_races;
    Piece recent[RECENT];  // pieces of the latest accesses
    unsigned next;
};

__thread State* state __attribute__((tls_model("initial-exec"))) = nullptr;

std::string hex(const void* address) {
    char text[20];
    snprintf(text, sizeof text, "0x%zx", reinterpret_cast<size_t>(address));
    return text;
}

bool in_device_memory(State& s, const unsigned char* address, size_t bytes) {
    auto at = reinterpret_cast<uintptr_t>(address);
    for (const Piece& piece : s.recent) {
        if (piece.holds(at, bytes)) {
            return true;
        }
    }
    const Piece* piece = s.memory->pieces.piece_of(at, bytes);
    if (piece == nullptr) {
        return false;
    }
    s.recent[s.next++ % State::RECENT] = *piece;
    return true;
}

void check_order(State& s, RaceDetector& detector, size_t offset, size_t bytes, bool write, const char* kind, const void* place) {
    Race race;
    if (detector.races(offset, bytes, write, {s.runner->barriers(), s.runner->warp_epoch(), s.runner->thread()}, race)) {
        BlockRunner::current()->stop(CUDA_ERROR_LAUNCH_FAILED, describe(race, write, kind) + s.runner->describe(race.thread), place);
    }
}

[[noreturn]] void report_outside(State& s, const unsigned char* address, size_t bytes, bool write, const void* place) {
    std::string text = std::string(write ? "writes " : "reads ") + std::to_string(bytes) + " bytes at " + hex(address) + ", ";
    Range reserved{s.runner->shared(), MOST_SHARED};
    if (reserved.holds(address, 1)) {
        text += "byte " + std::to_string(address - reserved.start) + " of " + std::to_string(s.runner->shared_bytes())
                + " bytes of dynamic shared memory";
    } else {
        text += "which is no memory of the device; " + nearest(reinterpret_cast<uintptr_t>(address));
    }
    BlockRunner::current()->stop(CUDA_ERROR_ILLEGAL_ADDRESS, text, place);
}

void check(const void* pointer, size_t bytes, bool write, const void* place) {
    if (state == nullptr) {
        return;  // code that runs outside of launches, such as initialisers
    }
    State& s = *state;
    auto* address = static_cast<const unsigned char*>(pointer);
    if (s.runner->on_own_stack(address)) {
        return;
    }
    Range dynamic{s.runner->shared(), s.runner->shared_bytes()};
    if (dynamic.holds(address, bytes)) {
        check_order(s, *s.dynamic_races, size_t(address - dynamic.start), bytes, write, "dynamic", place);
    } else if (s.static_shared.holds(address, bytes)) {
        check_order(s, *s.static_races, size_t(address - s.static_shared.start), bytes, write, "static", place);
    } else if (!in_device_memory(s, address, bytes)) {
        for (const Range& range : s.memory->program) {
            if (!write && range.holds(address, bytes)) {
                return;
            }
        }
        report_outside(s, address, bytes, write, place);
    }
}

void check_aligned(const void* pointer, size_t bytes, bool write, const void* place) {
    if (state != nullptr && reinterpret_cast<uintptr_t>(pointer) % bytes != 0) {
        BlockRunner::current()->stop(CUDA_ERROR_MISALIGNED_ADDRESS, "access of " + std::to_string(bytes) + " bytes at "
                + hex(pointer) + ", which is not a multiple", place);
    }
    check(pointer, bytes, write, place);
}

}  // namespace

std::string describe(const Race& race, bool write, const char* kind) {
    return std::string("race in shared memory: it ") + (write ? "writes" : "reads") + ", and another thread "
            + (race.other_wrote ? "wrote" : "read") + ", byte " + std::to_string(race.at) + " of the " + kind
            + " shared memory, with no barrier between; the other: ";
}

void Guard::begin(const BlockRunner& runner, const GuardedMemory& memory, Range static_shared) {
    if (static_shared.bytes > MOST_SHARED) {
        say("the kernels of the module have %zu bytes of static shared memory together; the guard has room for %zu",
                static_shared.bytes, MOST_SHARED);
        abort();
    }
    state = new State{&runner, &memory, static_shared, &dynamic_, &fixed_, {}, 0};
}

void Guard::end() {
    delete state;
    state = nullptr;
}

void guard_copy(const void* target, const void* source, unsigned bytes, unsigned source_bytes) {
    const void* place = nullptr;
    check(target, bytes, true, place);
    if (source_bytes > 0) {
        check(source, source_bytes, false, place);
    }
}

void check_atomic(const void* address, unsigned bytes) {
    if (state == nullptr) {
        return;
    }
    const void* place = __builtin_return_address(0);
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
        check_aligned(address, bytes, true, place);
    }
    // atomics are ordered among themselves
    auto* at = static_cast<const unsigned char*>(address);
    Range dynamic{state->runner->shared(), state->runner->shared_bytes()};
    if (!dynamic.holds(at, bytes) && !state->static_shared.holds(at, bytes)) {
        check(address, bytes, true, place);
    }
}

}  // namespace emulator

using emulator::check;
using emulator::check_aligned;

#define PLACE __builtin_return_address(0)
#define ACCESS(bytes) \
    API void __tsan_read##bytes(const void* address) { check_aligned(address, bytes, false, PLACE); } \
    API void __tsan_write##bytes(const void* address) { check_aligned(address, bytes, true, PLACE); } \
    API void __tsan_volatile_read##bytes(const void* address) { check_aligned(address, bytes, false, PLACE); } \
    API void __tsan_volatile_write##bytes(const void* address) { check_aligned(address, bytes, true, PLACE); } \
    API void __tsan_unaligned_read##bytes(const void* address) { check(address, bytes, false, PLACE); } \
    API void __tsan_unaligned_write##bytes(const void* address) { check(address, bytes, true, PLACE); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
API void __tsan_read_range(const void* address, size_t bytes) { check(address, bytes, false, PLACE); }
API void __tsan_write_range(const void* address, size_t bytes) { check(address, bytes, true, PLACE); }
API void __tsan_func_entry(void*) {}
API void __tsan_func_exit() {}
API void __tsan_init() {}

namespace {
// As the compiler lays them out for the handlers of undefined behaviour.
struct Place {
    const char* file;
    unsigned line, column;

    std::string text() const { return std::string(file) + ":" + std::to_string(line); }
};
struct Mismatch {
    Place place;
    const void* type;
    unsigned char log_alignment, kind;
};
}  // namespace

API void __ubsan_handle_type_mismatch_v1(const Mismatch* mismatch, const void* address) {
    size_t alignment = size_t(1) << mismatch->log_alignment;
    if (emulator::state != nullptr && reinterpret_cast<uintptr_t>(address) % alignment != 0) {
        emulator::BlockRunner::current()->stop(CUDA_ERROR_MISALIGNED_ADDRESS, "address " + emulator::hex(address)
                + " is not a multiple of " + std::to_string(alignment) + " (" + mismatch->place.text() + ")");
    }
}

API void __ubsan_handle_out_of_bounds(const Place* place, const void* index) {
    if (emulator::state != nullptr) {
        emulator::BlockRunner::current()->stop(CUDA_ERROR_ILLEGAL_ADDRESS, "index "
                + std::to_string(reinterpret_cast<intptr_t>(index)) + " is outside of its array (" + place->text() + ")");
    }
}
