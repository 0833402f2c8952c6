#include "module.h"
#include "api.h"
#include "settings.h"
#include "ptx/counts.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <sstream>

namespace emulator {

namespace {

// Oldest driver for a PTX version, as cuDriverGetVersion counts: PTX ISA, "Release notes".
int driver_for(int ptx_version) {
    static const int TABLE[][2] = {{63, 10000}, {64, 10010}, {65, 10020}, {70, 11000}, {71, 11010}, {72, 11020}, {73, 11030},
            {74, 11040}, {75, 11050}, {76, 11060}, {77, 11070}, {78, 11080}, {80, 12000}, {81, 12010}, {82, 12020},
            {83, 12030}, {84, 12040}, {85, 12050}, {87, 12080}, {88, 12090}, {90, 13000}};
    for (const auto& row : TABLE) {
        if (row[0] >= ptx_version) {
            return row[1];
        }
    }
    return 99999;
}

std::string word_after(const std::string& text, const std::string& key, size_t from = 0) {
    size_t at = text.find(key, from);
    if (at == std::string::npos) {
        return "";
    }
    std::istringstream rest(text.substr(at + key.size(), 100));
    std::string word;
    rest >> word;
    return word;
}

// A text and what was made of it; tests load the same one again and again.
struct Loaded {
    ptx::ModuleText text;
    std::shared_ptr<const ptx::Module> program;  // null until it is to be executed
};

// Throws ptx::Error.
Loaded read_once(const std::string& text, bool to_execute) {
    static std::mutex mutex;
    static auto* known = new std::map<std::string, Loaded>;
    std::lock_guard<std::mutex> lock(mutex);
    auto found = known->find(text);
    if (found == known->end()) {
        found = known->emplace(text, Loaded{ptx::read(text), nullptr}).first;
    }
    if (to_execute && found->second.program == nullptr) {
        found->second.program = std::make_shared<const ptx::Module>(ptx::build(found->second.text));
    }
    return found->second;
}

// Where the compiled kernels lie: beside this library, unless a test names others.
std::string kernels_file(int target, bool guarded) {
    const char* prefix = getenv("EMULATOR_KERNELS");
    std::string name;
    if (prefix != nullptr) {
        name = prefix;
    } else {
        Dl_info own;
        dladdr(reinterpret_cast<void*>(&load_module), &own);
        name = own.dli_fname;
        size_t slash = name.rfind('/');
        name = (slash == std::string::npos ? std::string(".") : name.substr(0, slash)) + "/kernels";
    }
    return name + "-sm" + std::to_string(target) + (guarded ? "-guarded" : "") + ".so";
}

// The entries of the PTX itself.
int executed(const Loaded& loaded, Module& module) {
    module.program = loaded.program;
    ptx::add_program(module.target, loaded.program);
    for (const auto& entry : loaded.program->entries) {
        const ptx::Code& code = entry.second;
        Entry own{code.name.c_str(), nullptr, unsigned(code.parameter_sizes.size()), code.parameter_sizes.data()};
        module.functions[entry.first] = {own, &module, code.shared_bytes, 0, code.parameter_sizes, &code};
    }
    return CUDA_SUCCESS;
}

// The entries of the PTX that the compiled sources have too.
int joined(const Loaded& loaded, Module& module) {
    std::string file = kernels_file(module.target, module.guarded);
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        say("no compiled kernels for this PTX: %s", dlerror());
        return CUDA_ERROR_INVALID_PTX;
    }
    auto entries = reinterpret_cast<const Entry* (*)()>(dlsym(library, "emulator_entries"));
    module.shared_anchor = reinterpret_cast<void* (*)()>(dlsym(library, "emulator_shared_anchor"));
    if (entries == nullptr || module.shared_anchor == nullptr) {
        say("%s was not built by this Makefile", file.c_str());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    const auto& declared = loaded.text.entries;
    for (const Entry* entry = entries(); entry->name != nullptr; entry++) {
        auto found = declared.find(entry->name);
        if (found == declared.end()) {
            continue;
        }
        std::vector<unsigned> sizes(entry->sizes, entry->sizes + entry->parameters);
        if (sizes != found->second.parameter_sizes) {
            say("kernel %s has other parameters in its source than in the PTX: run make -C cuda-kernels", entry->name);
            return CUDA_ERROR_INVALID_PTX;
        }
        module.functions[entry->name] = {*entry, &module, found->second.shared_bytes, 0, sizes, nullptr};
    }
    for (const auto& entry : declared) {
        if (module.functions.find(entry.first) == module.functions.end()) {
            say("kernel %s is in the PTX but not in the compiled sources: run make -C cuda-kernels", entry.first.c_str());
        }
    }
    return CUDA_SUCCESS;
}

}  // namespace

int load_module(const char* text, int device, Module*& result) {
    std::string ptx(text);
    std::string version = word_after(ptx, ".version"), target_name = word_after(ptx, ".target");
    size_t dot = version.find('.');
    if (dot == std::string::npos || target_name.rfind("sm_", 0) != 0) {
        say("the image of a module is no PTX");
        return CUDA_ERROR_INVALID_IMAGE;
    }
    int number = atoi(version.c_str()) * 10 + atoi(version.c_str() + dot + 1);
    if (driver_for(number) > settings::driver_version.value) {
        say("PTX of version %s needs a driver for CUDA %d.%d", version.c_str(), driver_for(number) / 1000,
                driver_for(number) % 1000 / 10);
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    }
    int target = atoi(target_name.c_str() + 3);
    if (target > settings::compute_capability.value) {
        say("PTX for sm_%d on a device of compute capability %ld", target, settings::compute_capability.value.load());
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    auto module = std::make_unique<Module>();
    module->target = target;
    module->device = device;
    module->guarded = settings::guard.value != 0;
    try {
        bool execute = settings::ptx.value != 0;
        Loaded loaded = read_once(ptx, execute);
        int code = execute ? executed(loaded, *module) : joined(loaded, *module);
        if (code == CUDA_SUCCESS) {
            result = module.release();
        }
        return code;
    } catch (const ptx::Error& e) {
        say("%s", e.what());
        return CUDA_ERROR_INVALID_PTX;
    }
}

}  // namespace emulator
