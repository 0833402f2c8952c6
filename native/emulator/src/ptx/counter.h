// Counts what a launch asks of a multiprocessor.
#pragma once

#include "warp.h"

namespace emulator::ptx {

// Of one entry, summed over its launches. Instructions are those of warps.
struct Counts {
    uint64_t launches, blocks;
    uint64_t instructions[size_t(Pipe::COUNT)];
    uint64_t lanes, idle_lanes;              // that took part in instructions, that lay idle because others went another way
    uint64_t global_requests, global_bytes, global_sectors, least_sectors;  // loads, stores and asynchronous copies
    uint64_t shared_requests, shared_wavefronts, bank_conflicts;            // wavefronts beyond what the width of the access needs
    uint64_t asynchronous_bytes, local_requests;
    uint64_t multiply_adds;                  // of tensor cores

    void add(const Counts& other);
};
constexpr size_t COUNTS = sizeof(Counts) / sizeof(uint64_t);

class Counter {
public:
    // An operation that `lanes` of those `present` run.
    void count(Warp& warp, const Operation& operation, uint32_t lanes, uint32_t present);

    Counts counts{};
};

}  // namespace emulator::ptx
