// What was counted so far, by entry; exported by emulator_counts and emulator_launches.
#pragma once

#include "counter.h"

namespace emulator::ptx {

void add_counts(const std::string& entry, const Counts& counts);
// Keeps a program for emulator_never_executed.
void add_program(int target, std::shared_ptr<const Module> program);
// A launch of an entry of a module for a target, compiled or of PTX.
void add_launch(const std::string& entry, int target);

}  // namespace emulator::ptx
