// Where the addresses of a warp lead to on the host.
#pragma once

#include "block.h"
#include "builder.h"

namespace emulator::ptx {

using Pointers = unsigned char* [LANES];

// Finds what the active lanes address, `bytes` each, and stops the block for an address that is none or misaligned. Places
// that are shared are noted as touched now.
void locate(Warp& warp, const Operation& operation, Space space, unsigned bytes, bool writes, Pointers& pointers);

// The address that a lane gives.
uint64_t address(Warp& warp, const Operation& operation, unsigned lane);

// Notes an access to shared memory of the lane that runs; stops the block if it races with another thread's.
void note_shared(Warp& warp, const Operation& operation, unsigned lane, const unsigned char* at, unsigned bytes, bool writes);

// cp.async: the bytes of what the active lanes have committed, but for the latest groups, arrive.
void finish_copies(Warp& warp, const Operation& operation, uint32_t lanes, unsigned groups_left = 0, bool only_committed = false);

// Takes the modifiers that say how an access is ordered and cached, which changes nothing here.
void take_hints(Modifiers& modifiers);
Space take_space(Modifiers& modifiers);

}  // namespace emulator::ptx
