#include "memory.h"
#include "api.h"
#include "settings.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace emulator {

namespace {

constexpr size_t ALIGNMENT = 256;

struct Table {
    std::mutex mutex;
    std::map<uintptr_t, Piece> pieces;
    std::map<int, size_t> used;
};

Table& table() {
    static auto* only = new Table;  // never destroyed: threads may outlive static objects
    return *only;
}

bool find(const Table& t, uintptr_t address, Piece& piece) {
    auto after = t.pieces.upper_bound(address);
    if (after == t.pieces.begin()) {
        return false;
    }
    piece = std::prev(after)->second;
    return address - piece.address < piece.bytes;
}

std::string describe(const Piece& piece, uintptr_t address) {
    char text[200], owner[40] = "pinned memory";
    if (piece.device >= 0) {
        snprintf(owner, sizeof owner, "memory of device %d,", piece.device);
    }
    long offset = long(address - piece.address);
    snprintf(text, sizeof text, "%s %zu bytes at 0x%zx, %ld bytes %s its %s",
            owner, piece.bytes, size_t(piece.address),
            offset < 0 ? -offset : offset >= long(piece.bytes) ? offset - long(piece.bytes) : offset,
            offset < 0 ? "before" : "after", offset >= long(piece.bytes) ? "end" : "start");
    return text;
}

std::string nearest(const Table& t, uintptr_t address) {
    auto after = t.pieces.upper_bound(address);
    const Piece* best = after == t.pieces.end() ? nullptr : &after->second;
    if (after != t.pieces.begin()) {
        const Piece& before = std::prev(after)->second;
        uintptr_t end = before.address + before.bytes;
        if (best == nullptr || address < end || address - end <= best->address - address) {
            best = &before;
        }
    }
    return best == nullptr ? "nothing is allocated" : "nearest: " + describe(*best, address);
}

}  // namespace

const Piece* MemoryMap::piece_of(uintptr_t address, size_t bytes) const {
    auto after = std::upper_bound(pieces_.begin(), pieces_.end(), address,
            [](uintptr_t value, const Piece& piece) { return value < piece.address; });
    return after != pieces_.begin() && std::prev(after)->holds(address, bytes) ? &*std::prev(after) : nullptr;
}

int allocate(int device, size_t bytes, uintptr_t& address) {
    Table& t = table();
    {
        std::lock_guard<std::mutex> lock(t.mutex);
        if (device >= 0 && t.used[device] + bytes > size_t(settings::memory_bytes.value)) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        t.used[device] += bytes;
    }
    void* memory = nullptr;
    if (posix_memalign(&memory, ALIGNMENT, bytes) != 0) {
        std::lock_guard<std::mutex> lock(t.mutex);
        t.used[device] -= bytes;
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memset(memory, 0xff, bytes);
    address = reinterpret_cast<uintptr_t>(memory);
    std::lock_guard<std::mutex> lock(t.mutex);
    t.pieces[address] = {address, bytes, device};
    return CUDA_SUCCESS;
}

bool release(uintptr_t address, bool pinned) {
    Table& t = table();
    {
        std::lock_guard<std::mutex> lock(t.mutex);
        auto found = t.pieces.find(address);
        if (found == t.pieces.end() || (found->second.device < 0) != pinned) {
            say("free of 0x%zx, which is no start of %s memory; %s", size_t(address), pinned ? "pinned" : "device",
                    nearest(t, address).c_str());
            return false;
        }
        t.used[found->second.device] -= found->second.bytes;
        t.pieces.erase(found);
    }
    free(reinterpret_cast<void*>(address));
    return true;
}

void release_all(int device) {
    for (const Piece& piece : pieces_of(device)) {
        release(piece.address, device < 0);
    }
}

void memory_info(int device, size_t& free, size_t& total) {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    total = size_t(settings::memory_bytes.value);
    size_t used = t.used[device];
    free = used < total ? total - used : 0;
}

long held_on_devices() {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    return std::count_if(t.pieces.begin(), t.pieces.end(), [](const auto& entry) { return entry.second.device >= 0; });
}

bool piece_of(uintptr_t address, Piece& piece) {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    return find(t, address, piece);
}

bool check_device_range(const char* what, uintptr_t address, size_t bytes) {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    Piece piece;
    if (bytes == 0 || (find(t, address, piece) && piece.device >= 0 && address + bytes <= piece.address + piece.bytes)) {
        return true;
    }
    say("%s: %zu bytes at 0x%zx are not within one piece of device memory; %s", what, bytes, size_t(address),
            nearest(t, address).c_str());
    return false;
}

bool check_host_range(const char* what, uintptr_t address, size_t bytes) {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    if (bytes == 0) {
        return true;
    }
    auto after = t.pieces.lower_bound(address + bytes);
    bool overlaps = after != t.pieces.begin() && std::prev(after)->second.address + std::prev(after)->second.bytes > address;
    if (address != 0 && (!overlaps || (std::prev(after)->second.device < 0 && address >= std::prev(after)->second.address
            && address + bytes <= std::prev(after)->second.address + std::prev(after)->second.bytes))) {
        return true;
    }
    say("%s: %zu bytes at 0x%zx are not host memory, or more than a pinned piece; %s", what, bytes, size_t(address),
            nearest(t, address).c_str());
    return false;
}

std::vector<Piece> pieces_of(int device) {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    std::vector<Piece> pieces;
    for (const auto& entry : t.pieces) {
        if (entry.second.device == device) {
            pieces.push_back(entry.second);
        }
    }
    return pieces;
}

std::string nearest(uintptr_t address) {
    Table& t = table();
    std::lock_guard<std::mutex> lock(t.mutex);
    return nearest(t, address);
}

}  // namespace emulator

// Pieces of device memory that are still held, for tests that look for leaks.
API long emulator_live_allocations() {
    return emulator::held_on_devices();
}
