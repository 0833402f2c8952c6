// What the guarded build of the kernels calls at every access.
#pragma once

#include "memory.h"

#include <vector>

namespace emulator {

// The device memory that the next launch may touch.
void guard_launch(std::vector<Piece> pieces);

}  // namespace emulator
