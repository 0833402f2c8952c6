// Registers share places: nvcc gives every value a register of its own, and a file of all of them would not fit the caches.
#include "builder.h"

#include <algorithm>
#include <queue>

namespace emulator::ptx {

namespace {

class Bits {
public:
    explicit Bits(size_t bits = 0) : words_((bits + 63) / 64) {}

    bool has(size_t i) const { return words_[i / 64] >> i % 64 & 1; }
    void add(size_t i) { words_[i / 64] |= uint64_t(1) << i % 64; }

    // Adds what another has and a third one lacks; true if that was anything.
    bool add(const Bits& other, const Bits* without = nullptr) {
        uint64_t added = 0;
        for (size_t w = 0; w < words_.size(); w++) {
            uint64_t more = other.words_[w] & ~(without == nullptr ? 0 : without->words_[w]) & ~words_[w];
            words_[w] |= more;
            added |= more;
        }
        return added != 0;
    }

    template <class Visit> void each(Visit visit) const {
        for (size_t w = 0; w < words_.size(); w++) {
            for (uint64_t left = words_[w]; left != 0; left &= left - 1) {
                visit(64 * w + size_t(__builtin_ctzll(left)));
            }
        }
    }

private:
    std::vector<uint64_t> words_;
};

// Drafts without a branch in between, and which registers (of all classes, one after the other) they need and set.
struct Stretch {
    size_t from, to;
    std::vector<size_t> next;
    Bits needs, sets, live_in, live_out;
};

class Liveness {
public:
    Liveness(const std::vector<Draft>& drafts, const std::map<std::string, uint32_t>& labels, const uint32_t (&counts)[3])
        : drafts_(drafts), counts_(counts), registers_(counts[0] + counts[1] + counts[2]) {
        cut(labels);
        spread();
    }

    // First and last moment of each register: draft i reads at 2 i and writes at 2 i + 1.
    std::vector<std::pair<size_t, size_t>> intervals() const {
        std::vector<std::pair<size_t, size_t>> result(registers_, {~size_t(0), 0});
        auto touch = [&](size_t r, size_t moment) {
            result[r].first = std::min(result[r].first, moment);
            result[r].second = std::max(result[r].second, moment);
        };
        for (const Stretch& stretch : stretches_) {
            stretch.live_in.each([&](size_t r) { touch(r, 2 * stretch.from); });
            stretch.live_out.each([&](size_t r) { touch(r, 2 * stretch.to); });
            for (size_t i = stretch.from; i < stretch.to; i++) {
                visit(drafts_[i], [&](size_t r) { touch(r, 2 * i); }, [&](size_t r, bool) { touch(r, 2 * i + 1); });
            }
        }
        return result;
    }

    size_t number(const Value& value) const {
        return value.number + (value.kind > 0 ? counts_[0] : 0) + (value.kind > 1 ? counts_[1] : 0);
    }

private:
    // Calls for every register that a draft reads, and then for every one that it writes, with whether it always does.
    template <class Reads, class Writes> void visit(const Draft& draft, Reads reads, Writes writes) const {
        for (size_t i = draft.results; i < draft.values.size(); i++) {
            if (!draft.values[i].fixed) reads(number(draft.values[i]));
        }
        for (size_t i = 0; i < draft.read.size(); i++) {
            if (draft.read[i]) reads(number(draft.values[i]));
        }
        if (draft.guarded && !draft.guard.fixed) reads(number(draft.guard));
        for (size_t i = 0; i < draft.results; i++) {
            writes(number(draft.values[i]), !draft.guarded);
        }
    }

    void cut(const std::map<std::string, uint32_t>& labels) {
        std::vector<size_t> stretch_of(drafts_.size() + 1);
        for (size_t i = 0; i < drafts_.size(); i++) {
            if (i == 0 || drafts_[i].operation.kind == Kind::start || ends(drafts_[i - 1])) {
                Bits none(registers_);
                stretches_.push_back({i, i, {}, none, none, none, none});
            }
            stretch_of[i] = stretches_.size() - 1;
            stretches_.back().to = i + 1;
        }
        for (Stretch& stretch : stretches_) {
            const Draft& last = drafts_[stretch.to - 1];
            if (last.operation.kind == Kind::branch) {
                stretch.next.push_back(stretch_of[labels.at(last.label)]);
            }
            if ((!ends(last) || last.guarded) && stretch.to < drafts_.size()) {
                stretch.next.push_back(stretch_of[stretch.to]);
            }
            for (size_t i = stretch.from; i < stretch.to; i++) {
                visit(drafts_[i], [&](size_t r) { if (!stretch.sets.has(r)) stretch.needs.add(r); },
                        [&](size_t r, bool always) { if (always) stretch.sets.add(r); });
            }
            stretch.live_in = stretch.needs;
        }
    }

    static bool ends(const Draft& draft) {
        return draft.operation.kind == Kind::branch || draft.operation.kind == Kind::exit;
    }

    void spread() {
        for (bool changed = true; changed;) {
            changed = false;
            for (size_t s = stretches_.size(); s-- > 0;) {
                Stretch& stretch = stretches_[s];
                for (size_t next : stretch.next) {
                    changed |= stretch.live_out.add(stretches_[next].live_in);
                }
                changed |= stretch.live_in.add(stretch.live_out, &stretch.sets);
            }
        }
    }

    const std::vector<Draft>& drafts_;
    const uint32_t (&counts_)[3];
    size_t registers_;
    std::vector<Stretch> stretches_;
};

}  // namespace

Placement place_registers(const std::vector<Draft>& drafts, const std::map<std::string, uint32_t>& labels,
        const uint32_t (&counts)[3]) {
    std::vector<std::pair<size_t, size_t>> intervals = Liveness(drafts, labels, counts).intervals();
    Placement placement;
    size_t first = 0;
    for (int kind = 0; kind < 3; kind++) {
        std::vector<uint32_t> order(counts[kind]);
        for (uint32_t i = 0; i < counts[kind]; i++) {
            order[i] = i;
        }
        std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
            return intervals[first + a].first < intervals[first + b].first;
        });
        using Ending = std::pair<size_t, uint32_t>;
        std::priority_queue<Ending, std::vector<Ending>, std::greater<>> busy;
        std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> free;
        placement.place[kind].resize(counts[kind]);
        placement.count[kind] = 0;
        for (uint32_t r : order) {
            auto interval = intervals[first + r];
            if (interval.first == ~size_t(0)) {
                continue;  // never used
            }
            while (!busy.empty() && busy.top().first < interval.first) {
                free.push(busy.top().second);
                busy.pop();
            }
            uint32_t place;
            if (free.empty()) {
                place = placement.count[kind]++;
            } else {
                place = free.top();
                free.pop();
            }
            placement.place[kind][r] = place;
            busy.emplace(interval.second, place);
        }
        first += counts[kind];
    }
    return placement;
}

}  // namespace emulator::ptx
