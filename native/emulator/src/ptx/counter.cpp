#include "counter.h"
#include "memory.h"

#include <algorithm>

namespace emulator::ptx {

namespace {

constexpr unsigned SECTOR = 32, BANKS = 32, WORD = 4;

// What a request of a warp to global memory touches: sectors of 32 bytes, and as few as its bytes would fill.
struct Touched {
    unsigned sectors, least;
};

Touched touched(const uint64_t* addresses, const unsigned* bytes, unsigned count) {
    std::pair<uint64_t, uint64_t> ranges[LANES];
    unsigned used = 0;
    for (unsigned i = 0; i < count; i++) {
        if (bytes[i] > 0) {
            ranges[used++] = {addresses[i], addresses[i] + bytes[i]};
        }
    }
    std::sort(ranges, ranges + used);
    uint64_t covered = 0, different = 0, next_sector = 0;
    unsigned sectors = 0;
    for (unsigned i = 0; i < used; i++) {
        // what other lanes touch too counts once
        uint64_t from = std::max(ranges[i].first, covered), to = std::max(ranges[i].second, from);
        different += to - from;
        covered = to;
        uint64_t first = std::max(ranges[i].first / SECTOR, next_sector), last = (ranges[i].second - 1) / SECTOR;
        if (last >= first) {
            sectors += unsigned(last - first + 1);
            next_sector = last + 1;
        }
    }
    return {sectors, unsigned((different + SECTOR - 1) / SECTOR)};
}

// Times that shared memory is accessed for lanes it serves together: the most different words of one bank.
unsigned wavefronts(const uint64_t* addresses, unsigned count, unsigned bytes) {
    uint64_t words[BANKS][LANES];
    unsigned different[BANKS] = {}, most = 0;
    for (unsigned i = 0; i < count; i++) {
        for (uint64_t word = addresses[i] / WORD; word <= (addresses[i] + bytes - 1) / WORD; word++) {
            uint64_t* known = words[word % BANKS];
            unsigned& n = different[word % BANKS];
            if (std::find(known, known + n, word) == known + n) {
                known[n++] = word;
                most = std::max(most, n);
            }
        }
    }
    return most;
}

}  // namespace

void Counts::add(const Counts& other) {
    auto* own = reinterpret_cast<uint64_t*>(this);
    const auto* more = reinterpret_cast<const uint64_t*>(&other);
    for (size_t i = 0; i < COUNTS; i++) {
        own[i] += more[i];
    }
}

void Counter::count(Warp& warp, const Operation& operation, uint32_t lanes, uint32_t present) {
    counts.instructions[size_t(operation.pipe)]++;
    counts.lanes += unsigned(__builtin_popcount(present));
    counts.idle_lanes += unsigned(__builtin_popcount(warp.live & ~present));
    if (operation.pipe == Pipe::tensor) {
        counts.multiply_adds += uint64_t(operation.number);
    }
    const Access& access = operation.access;
    if (access.bytes == 0 || lanes == 0 || access.space == Space::parameter) {
        return;
    }
    uint64_t addresses[LANES];
    unsigned bytes[LANES], count = 0, total = 0;
    for (uint32_t left = lanes; left != 0; left &= left - 1) {
        addresses[count] = address(warp, operation, unsigned(__builtin_ctz(left)));
        bytes[count++] = access.bytes;
    }
    bool shared = access.space == Space::shared || (access.space == Space::generic && addresses[0] - SHARED_WINDOW < WINDOW_BYTES);
    if (access.space == Space::local || (access.space == Space::generic && addresses[0] - LOCAL_WINDOW < WINDOW_BYTES)) {
        counts.local_requests++;
        return;
    }
    if (shared) {
        // as many lanes at a time as 128 bytes serve
        unsigned together = std::min(LANES, BANKS * WORD / std::max(access.bytes, WORD));
        counts.shared_requests++;
        for (unsigned first = 0; first < LANES; first += together) {
            uint64_t group[LANES];
            unsigned size = 0;
            for (unsigned lane = first; lane < first + together; lane++) {
                if (lanes >> lane & 1) {
                    group[size++] = address(warp, operation, lane);
                }
            }
            if (size > 0) {
                unsigned times = wavefronts(group, size, access.bytes);
                counts.shared_wavefronts += times;
                counts.bank_conflicts += times - 1;
            }
        }
        if (!access.asynchronous) {
            return;
        }
        const auto* source = warp.row<uint64_t>(operation.at[1]);
        const auto* read = warp.row<uint32_t>(operation.at[2]);
        unsigned i = 0;
        for (uint32_t left = lanes; left != 0; left &= left - 1, i++) {
            unsigned lane = unsigned(__builtin_ctz(left));
            addresses[i] = source[lane];
            bytes[i] = std::min(read[lane], access.bytes);
            counts.asynchronous_bytes += bytes[i];
        }
    }
    for (unsigned i = 0; i < count; i++) {
        total += bytes[i];
    }
    if (total > 0) {
        counts.global_requests++;
        counts.global_bytes += total;
        Touched found = touched(addresses, bytes, count);
        counts.global_sectors += found.sectors;
        counts.least_sectors += found.least;
    }
}

}  // namespace emulator::ptx
