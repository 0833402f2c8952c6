#include "counter.h"
#include "memory.h"

#include <algorithm>

namespace emulator::ptx {

namespace {

constexpr unsigned SECTOR = 32, BANKS = 32, WORD = 4;

// 32-byte sectors of global memory that a request of a warp touches.
unsigned sectors(const uint64_t* addresses, const unsigned* bytes, unsigned count) {
    uint64_t touched[2 * LANES];
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) {
        if (bytes[i] > 0) {
            for (uint64_t s = addresses[i] / SECTOR; s <= (addresses[i] + bytes[i] - 1) / SECTOR; s++) {
                touched[found++] = s;
            }
        }
    }
    std::sort(touched, touched + found);
    return unsigned(std::unique(touched, touched + found) - touched);
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
        counts.global_sectors += sectors(addresses, bytes, count);
        counts.least_sectors += (total + SECTOR - 1) / SECTOR;
    }
}

}  // namespace emulator::ptx
