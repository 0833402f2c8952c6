// What a test may set: by emulator_set("name", value), or before the start by EMULATOR_NAME in the environment.
#pragma once

#include <atomic>

namespace emulator {

struct Setting {
    const char* name;
    long initial;
    std::atomic<long> value;
};

namespace settings {
extern Setting devices;             // how many there are
extern Setting driver_version;      // as cuDriverGetVersion gives it
extern Setting compute_capability;  // 75, 80, 90
extern Setting multiprocessors;
extern Setting l2_bytes;
extern Setting memory_bytes;        // of each device
extern Setting threads;             // host threads that run blocks, 0: one a processor
extern Setting reversed;            // 1: blocks, warps and lanes from the last to the first
extern Setting guard;               // 1: modules loaded from now on check every access
extern Setting ptx;                 // 1: modules loaded from now on execute their PTX, 0: the compiled sources
extern Setting divided;             // 1: lanes that part in PTX meet again only where an instruction makes them
extern Setting counted;             // 1: launches of PTX are counted
extern Setting seed;                // of what the approximations of PTX answer
extern Setting deferred;            // 1: asynchronous work is done as late as the order of streams and events allows
extern Setting fail_init;           // an error code that cuInit answers
extern Setting stub;                // 1: a stub of the driver: every call answers 34 and writes nothing
extern Setting fail_jit;            // 1: PTX is not compiled, with a line in the log
extern Setting fail_allocation;     // the n-th allocation from now on is refused
extern Setting fail_launch;         // the n-th launch from now on hits an illegal address
extern Setting fail_cublas;         // 1: cublasCreate fails
extern Setting fail_cudnn;          // 1: cudnnCreate fails; 2: what computes fails
}

// Counts a setting down; true when it has just reached zero.
bool strikes(Setting& countdown);

}  // namespace emulator
