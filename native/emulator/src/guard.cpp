#include "guard.h"
#include "api.h"

#include <cstdio>
#include <memory>

namespace emulator {

namespace {

// Who touched a byte of shared memory last, and when.
struct Access {
    unsigned barriers, warp_epoch;
    unsigned short thread;
    bool happened;
};

struct Shadow {
    Access write, read, other_read;
};

struct State {
    const BlockRunner* runner;
    const GuardedMemory* memory;
    Range static_shared;
    const Piece* last;  // the piece of the latest access
};

__thread State* state __attribute__((tls_model("initial-exec"))) = nullptr;

// Kept by each host thread: what is old is told by its counters, which only grow.
std::vector<Shadow>& shadow() {
    static thread_local std::vector<Shadow> bytes(2 * MOST_SHARED);
    return bytes;
}

std::string hex(const void* address) {
    char text[20];
    snprintf(text, sizeof text, "0x%zx", reinterpret_cast<size_t>(address));
    return text;
}

bool in_device_memory(State& s, const unsigned char* address, size_t bytes) {
    auto at = reinterpret_cast<uintptr_t>(address);
    if (s.last != nullptr && at >= s.last->address && at + bytes <= s.last->address + s.last->bytes) {
        return true;
    }
    const auto& pieces = s.memory->pieces;
    auto after = std::upper_bound(pieces.begin(), pieces.end(), at,
            [](uintptr_t value, const Piece& piece) { return value < piece.address; });
    if (after == pieces.begin()) {
        return false;
    }
    const Piece& piece = *std::prev(after);
    if (piece.device < 0 || at + bytes > piece.address + piece.bytes) {
        return false;
    }
    s.last = &piece;
    return true;
}

// Whether an earlier access of another thread is not ordered before one that the running thread makes now.
bool races(const Access& earlier, const Access& now) {
    return earlier.happened && earlier.thread != now.thread && earlier.barriers == now.barriers
            && (earlier.thread / WARP != now.thread / WARP || earlier.warp_epoch == now.warp_epoch);
}

[[noreturn]] void report_race(State& s, const char* what, const Access& earlier, const unsigned char* address,
        size_t offset, const char* kind, const void* place) {
    BlockRunner::current()->stop(CUDA_ERROR_LAUNCH_FAILED, std::string("race in shared memory: it ") + what + " byte "
            + std::to_string(offset) + " of the " + kind + " shared memory (" + hex(address) + ") with no barrier since "
            + s.runner->describe(earlier.thread), place);
}

void check_order(State& s, const unsigned char* address, size_t bytes, bool write, size_t offset, size_t first,
        const char* kind, const void* place) {
    Access now{s.runner->barriers(), s.runner->warp_epoch(), static_cast<unsigned short>(s.runner->thread()), true};
    Shadow* cells = shadow().data() + first + offset;
    for (size_t i = 0; i < bytes; i++) {
        Shadow& cell = cells[i];
        if (races(cell.write, now)) {
            report_race(s, write ? "writes, and another thread wrote," : "reads, and another thread wrote,", cell.write,
                    address + i, offset + i, kind, place);
        }
        if (!write) {
            if (races(cell.read, now)) {
                cell.other_read = cell.read;
            }
            cell.read = now;
            continue;
        }
        for (const Access* earlier : {&cell.read, &cell.other_read}) {
            if (races(*earlier, now)) {
                report_race(s, "writes, and another thread read,", *earlier, address + i, offset + i, kind, place);
            }
        }
        cell.write = now;
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
        check_order(s, address, bytes, write, size_t(address - dynamic.start), 0, "dynamic", place);
    } else if (s.static_shared.holds(address, bytes)) {
        check_order(s, address, bytes, write, size_t(address - s.static_shared.start), MOST_SHARED, "static", place);
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

Guard::Guard(const BlockRunner& runner, const GuardedMemory& memory, Range static_shared) {
    if (static_shared.bytes > MOST_SHARED) {
        say("the kernels of the module have %zu bytes of static shared memory together; the guard has room for %zu",
                static_shared.bytes, MOST_SHARED);
        abort();
    }
    state = new State{&runner, &memory, static_shared, nullptr};
}

Guard::~Guard() {
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
