#pragma once

#include "fibers.h"
#include "module.h"

namespace emulator {

// Runs all blocks of a launch on the host's threads and waits for them; code 0 if all went well. In the guarded build they
// may touch what is allocated on the module's device.
Fault run(const Function& function, void** parameters, dim3 grid, dim3 block, size_t shared_bytes);

}  // namespace emulator
