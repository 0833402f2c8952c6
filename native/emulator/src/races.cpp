#include "races.h"

namespace emulator {

namespace {

// A moment, packed; 0 is before all of them.
using Access = uint64_t;
constexpr unsigned THREAD_BITS = 10, MEETING_BITS = 22;

Access pack(Moment moment) {
    constexpr Access mask = (Access(1) << MEETING_BITS) - 1;
    return Access(moment.barriers) << (THREAD_BITS + MEETING_BITS) | (moment.meetings & mask) << THREAD_BITS | moment.thread;
}

unsigned thread_of(Access access) {
    return access & (MOST_THREADS - 1);
}

// Whether an earlier access of another thread is not ordered before one that is made now.
bool unordered(Access earlier, Access now) {
    Access difference = earlier ^ now;
    if (difference >> (THREAD_BITS + MEETING_BITS) != 0 || thread_of(difference) == 0) {
        return false;
    }
    bool same_warp = thread_of(difference) < WARP, met_since = difference >> THREAD_BITS != 0;
    return !same_warp || !met_since;
}

// The latest accesses to a place: two readers, of which one may be left to race when the other is the writer itself.
struct Shadow {
    Access write, read, other_read;

    // The earlier access that one now is not ordered after, or 0.
    Access conflict(bool writes, Access now) const {
        if (unordered(write, now)) return write;
        if (writes && unordered(read, now)) return read;
        if (writes && unordered(other_read, now)) return other_read;
        return 0;
    }

    void note(bool writes, Access now) {
        if (writes) {
            write = now;
        } else {
            if (unordered(read, now)) {
                other_read = read;
            }
            read = now;
        }
    }
};

// Words of four bytes have a place each, and their bytes have one as soon as they are accessed by themselves.
struct Word {
    Shadow whole;
    Access byte_access;  // the latest
};

}  // namespace

struct RaceDetector::Shadows {
    Word words[MOST_SHARED / 4 + 1] = {};
    Shadow bytes[MOST_SHARED + 4] = {};
};

RaceDetector::RaceDetector() = default;
RaceDetector::~RaceDetector() = default;

bool RaceDetector::races(size_t offset, size_t bytes, bool write, Moment moment, Race& race) {
    if (shadows_ == nullptr) {
        shadows_ = std::make_unique<Shadows>();
    }
    Access now = pack(moment);
    auto conflicts = [&](const Shadow& seen, size_t at) {
        Access earlier = seen.conflict(write, now);
        race = {at, thread_of(earlier), earlier == seen.write};
        return earlier != 0;
    };
    for (size_t at = offset; at < offset + bytes;) {
        Word& word = shadows_->words[at / 4];
        if (conflicts(word.whole, at)) {
            return true;
        }
        if (at % 4 == 0 && offset + bytes - at >= 4) {
            if (word.byte_access >> (THREAD_BITS + MEETING_BITS) == now >> (THREAD_BITS + MEETING_BITS)) {
                for (size_t i = at; i < at + 4; i++) {
                    if (conflicts(shadows_->bytes[i], i)) {
                        return true;
                    }
                }
            }
            word.whole.note(write, now);
            at += 4;
        } else {
            if (conflicts(shadows_->bytes[at], at)) {
                return true;
            }
            shadows_->bytes[at].note(write, now);
            word.byte_access = now;
            at++;
        }
    }
    return false;
}

}  // namespace emulator
