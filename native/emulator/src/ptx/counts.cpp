#include "counts.h"

#include "../api.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <sstream>

namespace emulator::ptx {

namespace {

struct Totals {
    std::mutex mutex;
    std::map<std::string, Counts> counts;
    std::map<std::pair<std::string, int>, long> launches;
    std::map<int, std::shared_ptr<const Module>> programs;
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

void add_program(int target, std::shared_ptr<const Module> program) {
    std::lock_guard<std::mutex> lock(totals().mutex);
    totals().programs[target] = std::move(program);
}

namespace {

// Opcode and modifiers of an instruction.
std::string signature(const std::string& text) {
    std::istringstream words(text);
    std::string word;
    words >> word;
    if (word[0] == '@') {
        words >> word;
    }
    return word;
}

}  // namespace

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

// The instructions, by opcode and modifiers, that the latest module for a target has and that no counted launch executed.
API const char* emulator_never_executed(int target) {
    using namespace emulator::ptx;
    static thread_local std::string names;
    std::lock_guard<std::mutex> lock(totals().mutex);
    std::map<std::string, bool> executed;
    if (totals().programs.count(target)) {
        for (const auto& entry : totals().programs[target]->entries) {
            const Code& code = entry.second;
            for (size_t i = 0; i < code.texts.size(); i++) {
                if (!code.texts[i].empty()) {
                    executed[signature(code.texts[i])] |= code.executed[i] != 0;
                }
            }
        }
    }
    names.clear();
    for (const auto& each : executed) {
        names += each.second ? "" : each.first + " ";
    }
    return names.c_str();
}
