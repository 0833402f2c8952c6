// Device and pinned memory: every piece is known, every copy is checked against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulator {

struct Piece {
    uintptr_t address;
    size_t bytes;
    int device;  // -1: pinned host memory

    bool holds(uintptr_t at, size_t count) const { return at >= address && at + count <= address + bytes; }
};

// Pieces as they are at a moment, to look accesses up in.
class MemoryMap {
public:
    MemoryMap() = default;
    explicit MemoryMap(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {}

    // The piece that holds a range, or null.
    const Piece* piece_of(uintptr_t address, size_t bytes) const;

private:
    std::vector<Piece> pieces_;  // in the order of addresses
};

// Answers 0 and an address, or an out-of-memory code. Fresh memory holds 0xff bytes: NaN, -1.
int allocate(int device, size_t bytes, uintptr_t& address);
// False if no piece starts there on a device (pinned: on the host).
bool release(uintptr_t address, bool pinned);
// Frees all that a device still holds.
void release_all(int device);
void memory_info(int device, size_t& free, size_t& total);

// The piece that holds an address, else false.
bool piece_of(uintptr_t address, Piece& piece);
// Whether a range lies within one piece of device memory; if not, a line says why.
bool check_device_range(const char* what, uintptr_t address, size_t bytes);
// Whether a host range lies apart from device memory, and within its piece if it is pinned.
bool check_host_range(const char* what, uintptr_t address, size_t bytes);
// Pieces that devices hold, all together.
long held_on_devices();
// What a device holds (-1: what is pinned), in the order of addresses.
std::vector<Piece> pieces_of(int device);
// The piece nearest to an address, in words.
std::string nearest(uintptr_t address);

}  // namespace emulator
