#include "memory.h"

#include "../api.h"

#include <cstdio>

namespace emulator::ptx {

namespace {

std::string hex(uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "0x%zx", size_t(value));
    return text;
}

[[noreturn]] void stop_outside(Warp& warp, const Operation& operation, unsigned lane, uint64_t at, unsigned bytes, bool writes,
        const std::string& where) {
    stop(warp, operation, lane, CUDA_ERROR_ILLEGAL_ADDRESS, std::string(writes ? "writes " : "reads ") + std::to_string(bytes)
            + " bytes at " + hex(at) + ", " + where);
}

unsigned char* shared(Warp& warp, const Operation& operation, unsigned lane, uint64_t at, unsigned bytes, bool writes) {
    BlockOfWarps& block = *warp.block;
    size_t size = block.shared_bytes(), fixed = block.launch().code->shared_bytes;
    if (at > size || bytes > size - at) {
        stop_outside(warp, operation, lane, at, bytes, writes, at < fixed ? "of " + std::to_string(fixed)
                + " bytes of static shared memory" : "byte " + std::to_string(at - fixed) + " of " + std::to_string(size - fixed)
                + " bytes of dynamic shared memory");
    }
    unsigned char* pointer = block.shared() + at;
    note_shared(warp, operation, lane, pointer, bytes, writes);
    return pointer;
}

unsigned char* local(Warp& warp, const Operation& operation, unsigned lane, uint64_t at, unsigned bytes, bool writes) {
    size_t size = warp.block->launch().code->local_bytes;
    if (at > size || bytes > size - at) {
        stop_outside(warp, operation, lane, at, bytes, writes, "of " + std::to_string(size) + " bytes of local memory");
    }
    return warp.local + lane * size + at;
}

unsigned char* parameter(Warp& warp, const Operation& operation, unsigned lane, uint64_t at, unsigned bytes) {
    size_t size = warp.block->launch().code->parameter_bytes;
    if (at > size || bytes > size - at) {
        stop_outside(warp, operation, lane, at, bytes, false, "of " + std::to_string(size) + " bytes of parameters");
    }
    return const_cast<unsigned char*>(warp.block->launch().parameters) + at;
}

unsigned char* global(Warp& warp, const Operation& operation, unsigned lane, uint64_t at, unsigned bytes, bool writes) {
    if (warp.block->piece_of(at, bytes) == nullptr) {
        stop_outside(warp, operation, lane, at, bytes, writes, "which is no memory of the device; " + nearest(at));
    }
    return reinterpret_cast<unsigned char*>(at);
}

// Whether all lanes address one piece of device memory, and aligned: the common case, looked up once.
bool all_in_one_piece(Warp& warp, const uint64_t* base, int64_t offset, unsigned bytes, Pointers& pointers) {
    uint64_t low = ~uint64_t(0), high = 0, misaligned = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t at = base[lane] + uint64_t(offset);
        low = std::min(low, at);
        high = std::max(high, at);
        misaligned |= at & (bytes - 1);
        pointers[lane] = reinterpret_cast<unsigned char*>(at);
    }
    return misaligned == 0 && high - low < WINDOW_BYTES && warp.block->piece_of(low, size_t(high - low) + bytes) != nullptr;
}

}  // namespace

uint64_t address(Warp& warp, const Operation& operation, unsigned lane) {
    uint32_t place = operation.at[operation.address];
    return (operation.access.wide ? warp.row<uint64_t>(place)[lane] : warp.row<uint32_t>(place)[lane])
            + uint64_t(operation.number);
}

void note_shared(Warp& warp, const Operation& operation, unsigned lane, const unsigned char* at, unsigned bytes, bool writes) {
    BlockOfWarps& block = *warp.block;
    Race race;
    if (block.launch().guarded && !operation.access.atomic && block.races().races(size_t(at - block.shared()), bytes, writes,
            {block.barriers(), warp.epoch, warp.number * LANES + lane}, race)) {
        size_t fixed = block.launch().code->shared_bytes;
        bool dynamic = race.at >= fixed;
        race.at -= dynamic ? fixed : 0;
        stop(warp, operation, lane, CUDA_ERROR_LAUNCH_FAILED, describe(race, writes, dynamic ? "dynamic" : "static")
                + block.describe(race.thread));
    }
}

void locate(Warp& warp, const Operation& operation, Space space, unsigned bytes, bool writes, Pointers& pointers) {
    if (space == Space::global && warp.active == ALL_LANES && all_in_one_piece(warp,
            warp.row<uint64_t>(operation.at[operation.address]), operation.number, bytes, pointers)) {
        return;
    }
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        uint64_t at = address(warp, operation, lane);
        if (at % bytes != 0) {
            stop(warp, operation, lane, CUDA_ERROR_MISALIGNED_ADDRESS, "access of " + std::to_string(bytes) + " bytes at "
                    + hex(at) + ", which is not a multiple of " + std::to_string(bytes));
        }
        Space actual = space;
        if (space == Space::generic) {
            bool is_shared = at - SHARED_WINDOW < WINDOW_BYTES, is_local = at - LOCAL_WINDOW < WINDOW_BYTES;
            actual = is_shared ? Space::shared : is_local ? Space::local : Space::global;
            at -= is_shared ? SHARED_WINDOW : is_local ? LOCAL_WINDOW : 0;
        }
        switch (actual) {
            case Space::shared: pointers[lane] = shared(warp, operation, lane, at, bytes, writes); break;
            case Space::local: pointers[lane] = local(warp, operation, lane, at, bytes, writes); break;
            case Space::parameter: pointers[lane] = parameter(warp, operation, lane, at, bytes); break;
            default: pointers[lane] = global(warp, operation, lane, at, bytes, writes);
        }
    }
}

void take_hints(Modifiers& modifiers) {
    for (const char* hint : {"weak", "volatile", "relaxed", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys", "ca",
            "cg", "cs", "lu", "cv", "wb", "wt", "nc", "L1::evict_normal", "L1::evict_first", "L1::evict_last", "L1::no_allocate",
            "L1::evict_unchanged", "L2::64B", "L2::128B", "L2::256B"}) {
        modifiers.take(hint);
    }
}

Space take_space(Modifiers& modifiers) {
    return modifiers.take("global") ? Space::global : modifiers.take("shared") || modifiers.take("shared::cta") ? Space::shared
            : modifiers.take("local") ? Space::local : modifiers.take("param") ? Space::parameter : Space::generic;
}

}  // namespace emulator::ptx
