#include "counts.h"

#include "../api.h"

#include <cstring>
#include <mutex>

namespace emulator::ptx {

namespace {

struct Totals {
    std::mutex mutex;
    std::map<std::string, Counts> counts;
    std::map<std::pair<std::string, int>, long> launches;
};

Totals& totals() {
    static auto* only = new Totals;
    return *only;
}

}  // namespace

void add_counts(const std::string& entry, const Counts& counts) {
    std::lock_guard<std::mutex> lock(totals().mutex);
    totals().counts[entry].add(counts);
}

void add_launch(const std::string& entry, int target) {
    std::lock_guard<std::mutex> lock(totals().mutex);
    totals().launches[{entry, target}]++;
    totals().counts[entry].launches++;
}

}  // namespace emulator::ptx

using emulator::ptx::totals;

// Copies the counts of an entry, 64-bit numbers in the order of struct Counts; answers how many there are, or 0 if the entry
// was never launched.
API int emulator_counts(const char* entry, uint64_t* numbers, int room) {
    std::lock_guard<std::mutex> lock(totals().mutex);
    auto found = totals().counts.find(entry);
    if (found == totals().counts.end()) {
        return 0;
    }
    memcpy(numbers, &found->second, sizeof(uint64_t) * std::min(emulator::ptx::COUNTS, size_t(room)));
    return int(emulator::ptx::COUNTS);
}

API void emulator_forget_counts() {
    std::lock_guard<std::mutex> lock(totals().mutex);
    totals().counts.clear();
}

// How often an entry of the module for a target (75, 80) was launched in this process.
API long emulator_launches(const char* entry, int target) {
    std::lock_guard<std::mutex> lock(totals().mutex);
    auto found = totals().launches.find({entry, target});
    return found == totals().launches.end() ? 0 : found->second;
}
