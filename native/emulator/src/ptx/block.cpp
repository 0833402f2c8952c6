#include "block.h"

#include "../api.h"
#include "counter.h"
#include "memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace emulator::ptx {

namespace {

std::string triple(uint3 v) {
    return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

std::string hex(uint32_t lanes) {
    char text[12];
    snprintf(text, sizeof text, "0x%08x", lanes);
    return text;
}

void fill(Warp& warp, const Code& code, Special special, uint32_t value) {
    if (code.special[special] != 0) {
        std::fill_n(warp.row<uint32_t>(code.special[special]), LANES, value);
    }
}

template <class F> void fill_lanes(Warp& warp, const Code& code, Special special, F value) {
    for (unsigned lane = 0; lane < LANES && code.special[special] != 0; lane++) {
        warp.row<uint32_t>(code.special[special])[lane] = value(lane);
    }
}

}  // namespace

BlockOfWarps::BlockOfWarps() : races_(std::make_unique<RaceDetector>()) {
    void* memory = mmap(nullptr, MOST_SHARED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    shared_ = static_cast<unsigned char*>(memory);
}

BlockOfWarps::~BlockOfWarps() {
    munmap(shared_, MOST_SHARED);
}

std::string BlockOfWarps::describe(unsigned thread) const {
    dim3 size = launch_->size;
    uint3 place{thread % size.x, thread / size.x % size.y, thread / (size.x * size.y)};
    return "kernel " + launch_->code->name + ", block " + triple(index_) + ", thread " + triple(place);
}

void stop(Warp& warp, const Operation& operation, unsigned lane, int code, const std::string& text) {
    const Code& own = *warp.block->launch().code;
    throw Fault{code, warp.block->describe(warp.number * LANES + lane) + ": " + text + " (line " + std::to_string(operation.line)
            + " of the PTX: " + own.texts[size_t(&operation - own.operations.data())] + ")", nullptr};
}

const Piece* BlockOfWarps::piece_of(uintptr_t address, size_t bytes) {
    for (const Piece& piece : recent_) {
        if (piece.holds(address, bytes)) {
            return &piece;
        }
    }
    const Piece* found = launch_->memory->piece_of(address, bytes);
    if (found != nullptr) {
        recent_[next_recent_++ % 4] = *found;
    }
    return found;
}

void BlockOfWarps::begin(const Launch& launch, Counter* counter) {
    launch_ = &launch;
    counter_ = counter;
    for (Piece& piece : recent_) {
        piece = {};
    }
    const Code& code = *launch.code;
    threads_ = launch.size.x * launch.size.y * launch.size.z;
    warps_.resize((threads_ + LANES - 1) / LANES);
    // rows are aligned for vectors
    registers_.assign(warps_.size() * code.register_bytes + 64, 0xff);
    local_.resize(warps_.size() * LANES * code.local_bytes);
    unsigned char* first = registers_.data() + (64 - reinterpret_cast<uintptr_t>(registers_.data()) % 64);
    dim3 size = launch.size;
    for (unsigned w = 0; w < warps_.size(); w++) {
        Warp& warp = warps_[w];
        warp.registers = first + w * code.register_bytes;
        warp.local = local_.data() + w * LANES * code.local_bytes;
        warp.block = this;
        warp.number = w;
        memcpy(warp.registers, code.fixed.data(), code.fixed.size());
        fill_lanes(warp, code, tid_x, [&](unsigned lane) { return (w * LANES + lane) % size.x; });
        fill_lanes(warp, code, tid_y, [&](unsigned lane) { return (w * LANES + lane) / size.x % size.y; });
        fill_lanes(warp, code, tid_z, [&](unsigned lane) { return (w * LANES + lane) / (size.x * size.y); });
        fill_lanes(warp, code, laneid, [&](unsigned lane) { return lane; });
        fill_lanes(warp, code, lanemask_eq, [&](unsigned lane) { return 1u << lane; });
        fill_lanes(warp, code, lanemask_lt, [&](unsigned lane) { return (1u << lane) - 1; });
        fill_lanes(warp, code, lanemask_le, [&](unsigned lane) { return ALL_LANES >> (31 - lane); });
        fill_lanes(warp, code, lanemask_gt, [&](unsigned lane) { return ~(ALL_LANES >> (31 - lane)); });
        fill_lanes(warp, code, lanemask_ge, [&](unsigned lane) { return ALL_LANES << lane; });
        fill(warp, code, ntid_x, size.x);
        fill(warp, code, ntid_y, size.y);
        fill(warp, code, ntid_z, size.z);
        fill(warp, code, nctaid_x, launch.grid.x);
        fill(warp, code, nctaid_y, launch.grid.y);
        fill(warp, code, nctaid_z, launch.grid.z);
        fill(warp, code, warpid, w);
        fill(warp, code, nwarpid, unsigned(warps_.size()));
    }
}

bool BlockOfWarps::run(uint3 index) {
    index_ = index;
    start_warps(index);
    memset(shared_, 0xff, shared_bytes());
    barriers_++;
    try {
        do {
            released_ = false;
            for (size_t i = 0; i < warps_.size(); i++) {
                Warp& warp = warps_[launch_->reversed ? warps_.size() - 1 - i : i];
                for (Path path{}; pick(warp, path);) {
                    counter_ != nullptr ? run_path<true>(warp, path) : run_path<false>(warp, path);
                }
            }
            release_barriers();
        } while (released_);
    } catch (const Fault& fault) {
        fault_ = fault;
        return false;
    }
    return true;
}

void BlockOfWarps::start_warps(uint3 index) {
    const Code& code = *launch_->code;
    if (!local_.empty()) {
        memset(local_.data(), 0xff, local_.size());
    }
    for (unsigned w = 0; w < warps_.size(); w++) {
        Warp& warp = warps_[w];
        unsigned lanes = std::min(LANES, threads_ - w * LANES);
        warp.live = ALL_LANES >> (LANES - lanes);
        warp.ready.assign(1, {0, warp.live});
        warp.gathering.clear();
        warp.barrier = {0, 0};
        warp.copies.clear();
        memset(warp.groups, 0, sizeof warp.groups);
        fill(warp, code, ctaid_x, index.x);
        fill(warp, code, ctaid_y, index.y);
        fill(warp, code, ctaid_z, index.z);
    }
}

// Takes the lanes that are to run next; false if all wait or have exited.
bool BlockOfWarps::pick(Warp& warp, Path& path) {
    auto& ready = warp.ready;
    if (ready.empty()) {
        // lanes that wait for some which have exited meanwhile
        for (Path waiting : std::vector<Path>(warp.gathering)) {
            path = {waiting.at, 0};
            if (gather(warp, launch_->code->operations[waiting.at], path)) {
                warp.ready.push_back(path);
            }
        }
        if (ready.empty()) {
            return false;
        }
    }
    if (launch_->meeting == Meeting::late) {
        auto next = launch_->reversed ? ready.begin() : ready.end() - 1;
        path = *next;
        ready.erase(next);
        return true;
    }
    // the lanes that are furthest behind, so that the others need not wait for them at the next place where ways meet
    path = *std::min_element(ready.begin(), ready.end(), [](const Path& a, const Path& b) { return a.at < b.at; });
    for (size_t i = ready.size(); i-- > 0;) {
        if (ready[i].at == path.at) {
            path.lanes |= ready[i].lanes;
            ready.erase(ready.begin() + long(i));
        }
    }
    return true;
}

template <bool COUNTED> void BlockOfWarps::run_path(Warp& warp, Path path) {
    const Operation* const all = launch_->code->operations.data();
    const bool late = launch_->meeting == Meeting::late;
    for (;;) {
        const Operation& operation = all[path.at];
        uint32_t lanes = path.lanes;
        if (operation.guard != NO_GUARD) {
            lanes &= warp.predicate(operation.guard) ^ (operation.guard_negated ? ALL_LANES : 0);
        }
        if (COUNTED && operation.kind != Kind::start) {
            launch_->code->executed[path.at] |= lanes != 0;
            counter_->count(warp, operation, lanes, path.lanes);
        }
        switch (operation.kind) {
            case Kind::plain:
                warp.active = lanes;
                if (lanes == ALL_LANES) {
                    operation.run.full(warp, operation);
                } else if (lanes != 0) {
                    operation.run.masked(warp, operation);
                }
                path.at++;
                break;
            case Kind::start:
                if (!late && !warp.ready.empty()) {
                    warp.ready.push_back(path);
                    pick(warp, path);
                    if (all[path.at].kind != Kind::start) {
                        break;
                    }
                }
                path.at++;
                break;
            case Kind::branch:
                if (lanes == path.lanes) {
                    path.at = operation.target;
                } else if (lanes == 0) {
                    path.at++;
                } else {
                    Path taken{operation.target, lanes}, rest{path.at + 1, path.lanes & ~lanes};
                    path = launch_->reversed ? rest : taken;
                    warp.ready.push_back(launch_->reversed ? taken : rest);
                }
                break;
            case Kind::exit:
                finish_copies(warp, operation, lanes);
                warp.live &= ~lanes;
                path.lanes &= ~lanes;
                if (path.lanes == 0) {
                    return;
                }
                path.at++;
                break;
            default:
                if (lanes != path.lanes) {
                    warp.ready.push_back({path.at + 1, path.lanes & ~lanes});
                    path.lanes = lanes;
                    if (lanes == 0) {
                        return;
                    }
                }
                if (operation.kind == Kind::barrier) {
                    if (warp.barrier.lanes != 0 && warp.barrier.at != path.at) {
                        stop(warp, operation, unsigned(__builtin_ctz(lanes)), CUDA_ERROR_LAUNCH_FAILED,
                                "lanes of one warp wait at different barriers");
                    }
                    warp.barrier = {path.at, warp.barrier.lanes | path.lanes};
                    return;
                }
                if (operation.kind == Kind::aligned) {
                    if (path.lanes != ALL_LANES) {
                        stop(warp, operation, unsigned(__builtin_ctz(lanes)), CUDA_ERROR_LAUNCH_FAILED, "a warp comes divided to"
                                " an instruction that needs all of it together; here are lanes " + hex(lanes) + " of "
                                + hex(warp.live));
                    }
                } else if (!gather(warp, operation, path)) {
                    return;
                }
                warp.active = path.lanes;
                operation.run.masked(warp, operation);
                warp.epoch++;
                path.at++;
        }
    }
}

// Whether all lanes are there that the masks of those at an operation name; adds the ones that came earlier, or leaves all waiting.
bool BlockOfWarps::gather(Warp& warp, const Operation& operation, Path& path) {
    for (size_t i = 0; i < warp.gathering.size(); i++) {
        if (warp.gathering[i].at == path.at) {
            path.lanes |= warp.gathering[i].lanes;
            warp.gathering.erase(warp.gathering.begin() + long(i));
            break;
        }
    }
    const auto* masks = warp.row<uint32_t>(operation.at[operation.number]);
    uint32_t wanted = 0;
    for (uint32_t left = path.lanes; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        if (!(masks[lane] >> lane & 1)) {
            stop(warp, operation, lane, CUDA_ERROR_LAUNCH_FAILED, "the mask " + hex(masks[lane]) + " lacks the lane that names it");
        }
        wanted |= masks[lane];
    }
    if ((wanted & warp.live & ~path.lanes) == 0) {
        return true;
    }
    warp.gathering.push_back(path);
    return false;
}

// After every warp has run as far as it can: lets those go on whose barrier is complete.
void BlockOfWarps::release_barriers() {
    bool all_done = true;
    for (uint32_t number = 0; number < 16; number++) {
        released_ |= release_barrier(number);
    }
    for (const Warp& warp : warps_) {
        all_done &= warp.live == 0;
    }
    if (!released_ && !all_done) {
        report_stuck();
    }
}

bool BlockOfWarps::release_barrier(uint32_t number) {
    const Operation* operation = nullptr;
    unsigned waiting = 0, expected = 0, yes = 0;
    bool one_place = true;
    for (Warp& warp : warps_) {
        const Path& path = warp.barrier;
        if (path.lanes == 0) {
            continue;
        }
        const Operation& own = launch_->code->operations[path.at];
        unsigned lane = unsigned(__builtin_ctz(path.lanes));
        if (warp.row<uint32_t>(own.at[1])[lane] != number) {
            continue;
        }
        one_place &= operation == nullptr || operation == &own;
        operation = &own;
        // 0: all threads of the block
        expected = warp.row<uint32_t>(own.at[2])[lane];
        waiting += unsigned(__builtin_popcount(path.lanes));
        yes += unsigned(__builtin_popcount(path.lanes & warp.predicate(own.at[3])));
    }
    if (operation == nullptr || !one_place || waiting != (expected == 0 ? threads_ : std::min(expected, threads_))) {
        return false;
    }
    barriers_++;
    for (Warp& warp : warps_) {
        Path& path = warp.barrier;
        if (path.lanes == 0 || &launch_->code->operations[path.at] != operation) {
            continue;
        }
        auto vote = BarrierVote(operation->detail);
        if (vote == BarrierVote::popc) {
            auto* result = warp.row<uint32_t>(operation->at[0]);
            for (unsigned lane = 0; lane < LANES; lane++) {
                result[lane] = path.lanes >> lane & 1 ? yes : result[lane];
            }
        } else if (vote != BarrierVote::none) {
            bool holds = vote == BarrierVote::all ? yes == waiting : yes > 0;
            uint32_t& result = warp.predicate(operation->at[0]);
            result = (result & ~path.lanes) | (holds ? path.lanes : 0);
        }
        warp.ready.push_back({path.at + 1, path.lanes});
        path.lanes = 0;
    }
    return true;
}

// Tells where the threads of a block wait for each other in vain.
void BlockOfWarps::report_stuck() {
    std::vector<std::pair<std::string, unsigned>> places;
    auto add = [&](const std::string& place, uint32_t lanes) {
        for (auto& known : places) {
            if (known.first == place) {
                known.second += unsigned(__builtin_popcount(lanes));
                return;
            }
        }
        if (lanes != 0) {
            places.emplace_back(place, unsigned(__builtin_popcount(lanes)));
        }
    };
    auto line = [&](const Path& path) { return std::to_string(launch_->code->operations[path.at].line) + " of the PTX"; };
    for (const Warp& warp : warps_) {
        uint32_t all = ALL_LANES >> (LANES - std::min(LANES, threads_ - warp.number * LANES));
        add("have exited", all & ~warp.live);
        add("wait at the barrier of line " + line(warp.barrier), warp.barrier.lanes);
        for (const Path& path : warp.gathering) {
            add("wait for their warp in line " + line(path), path.lanes);
        }
    }
    std::string text = "kernel " + launch_->code->name + ", block " + triple(index_)
            + ": threads of the block wait for each other for ever:";
    for (size_t i = 0; i < places.size(); i++) {
        text += (i ? ", " : " ") + std::to_string(places[i].second) + " " + places[i].first;
    }
    throw Fault{CUDA_ERROR_LAUNCH_FAILED, text, nullptr};
}

}  // namespace emulator::ptx
