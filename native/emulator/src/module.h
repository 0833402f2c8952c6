// A loaded module: the entries that its PTX declares, joined with the kernels compiled from the same source.
#pragma once

#include "../include/execution.h"

#include <map>
#include <string>
#include <vector>

namespace emulator {

struct Module;

struct Function {
    Entry entry;
    Module* module;
    size_t static_shared;       // bytes
    size_t opted_in_shared;     // what cuFuncSetAttribute allowed beyond the usual limit
    std::vector<unsigned> parameter_sizes;  // as the PTX declares them
};

struct Module {
    int target, device;
    std::map<std::string, Function> functions;
    bool guarded;
    // address of thread-local (that is: static shared) memory of the calling host thread
    void* (*shared_anchor)();
};

// Answers 0 and a module of a device that is to be deleted, or a code after a line that says why not.
int load_module(const char* ptx, int device, Module*& module);

}  // namespace emulator
