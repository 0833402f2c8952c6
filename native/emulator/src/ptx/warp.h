// A warp that runs, as the handlers of operations see it.
#pragma once

#include "../fibers.h"
#include "../guard.h"
#include "code.h"

namespace emulator::ptx {

class BlockOfWarps;

// Lanes that are at one place.
struct Path {
    uint32_t at, lanes;
};

// Copies of one cp.async that have not arrived.
struct PendingCopies {
    uint32_t lanes;
    unsigned bytes;
    unsigned char* target[LANES];
    const unsigned char* source[LANES];
    unsigned source_bytes[LANES], group[LANES];
};

struct Warp {
    unsigned char* registers;
    uint32_t active;             // lanes that run the operation at hand
    BlockOfWarps* block;
    unsigned number;             // in its block
    uint32_t live;               // lanes that have not exited
    unsigned epoch;              // counts what orders the lanes among themselves
    std::vector<Path> ready, gathering;
    Path barrier;                // lanes that wait at the block's barrier
    unsigned groups[LANES];      // asynchronous copies committed
    std::vector<PendingCopies> copies;
    unsigned char* local;        // local memory of the lanes, one after the other

    template <class T> T* row(uint32_t place) { return reinterpret_cast<T*>(registers + place); }
    uint32_t& predicate(uint32_t place) { return *row<uint32_t>(place); }
    bool is_active(unsigned lane) const { return active >> lane & 1; }
};

// What a row holds for each lane of a type: at least 32 bits, of which a small integer's lowest count.
template <class T> using Stored = std::conditional_t<(sizeof(T) < 4), uint32_t, T>;

template <class T> T taken(Stored<T> stored) {
    return static_cast<T>(stored);
}

template <class T> Stored<T> kept(T value) {
    if constexpr (sizeof(T) < 4) {
        return static_cast<std::make_unsigned_t<T>>(value);
    } else {
        return value;
    }
}

// d = F::of(a, ...) in every active lane. Rows are the same or apart, so lanes do not meet.
template <bool MASKED, class F, class D, class... A, size_t... I>
void lane_by_lane(Warp& warp, const Operation& operation, std::index_sequence<I...>) {
    auto* d = warp.row<Stored<D>>(operation.at[0]);
    const std::tuple<const Stored<A>*...> from(warp.row<Stored<A>>(operation.at[1 + I])...);
    const uint32_t active = warp.active;
#pragma GCC ivdep
    for (unsigned lane = 0; lane < LANES; lane++) {
        Stored<D> result = kept<D>(F::of(taken<A>(std::get<I>(from)[lane])...));
        d[lane] = !MASKED || (active >> lane & 1) ? result : d[lane];
    }
}

template <bool MASKED, class F, class D, class... A> void lane_by_lane(Warp& warp, const Operation& operation) {
    lane_by_lane<MASKED, F, D, A...>(warp, operation, std::index_sequence_for<A...>());
}

template <class F, class D, class... A> constexpr Handlers lanes() {
    return {lane_by_lane<false, F, D, A...>, lane_by_lane<true, F, D, A...>};
}

// For handlers that look at the active lanes themselves.
constexpr Handlers both(Handler handler) {
    return {handler, handler};
}

// Ends the block: `lane` did what must not be.
[[noreturn]] void stop(Warp& warp, const Operation& operation, unsigned lane, int code, const std::string& text);

}  // namespace emulator::ptx
