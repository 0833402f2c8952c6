// A loaded module: the entries of its PTX, executed as they are or joined with the kernels compiled from the same source.
#pragma once

#include "../include/execution.h"
#include "ptx/code.h"

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
    const ptx::Code* code;      // null: the compiled kernel runs
};

struct Module {
    int target, device;
    std::map<std::string, Function> functions;
    bool guarded;
    std::shared_ptr<const ptx::Module> program;  // what is executed of the PTX; null: the compiled kernels are
    // of these: address of thread-local (that is: static shared) memory of the calling host thread
    void* (*shared_anchor)() = nullptr;
};

// Answers 0 and a module of a device that is to be deleted, or a code after a line that says why not.
int load_module(const char* ptx, int device, Module*& module);

}  // namespace emulator
