// Floating-point instructions that do not round to nearest. Both answer false for an instruction that is none of theirs.
#pragma once

#include "builder.h"

namespace emulator::ptx {

// .rz, .rm, .rp
bool add_rounded(Builder& builder, Modifiers& modifiers);
// .approx, .full
bool add_approximation(Builder& builder, Modifiers& modifiers);

}  // namespace emulator::ptx
