#include "module.h"
#include "api.h"
#include "settings.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
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

unsigned size_of(const std::string& declaration) {
    static const std::pair<const char*, unsigned> TYPES[] = {{".u64", 8}, {".s64", 8}, {".b64", 8}, {".f64", 8}, {".u32", 4},
            {".s32", 4}, {".b32", 4}, {".f32", 4}, {".u16", 2}, {".s16", 2}, {".b16", 2}, {".u8", 1}, {".s8", 1}, {".b8", 1}};
    for (const auto& type : TYPES) {
        if (declaration.find(type.first) != std::string::npos) {
            size_t bracket = declaration.find('[');
            return type.second * (bracket == std::string::npos ? 1u : unsigned(atoi(declaration.c_str() + bracket + 1)));
        }
    }
    return 0;
}

struct Declared {
    std::vector<unsigned> parameters;
    size_t static_shared;
};

// Entries of a PTX text: sizes of their parameters, and of the static shared memory that their bodies name.
std::map<std::string, Declared> declared_entries(const std::string& ptx) {
    std::map<std::string, size_t> shared;
    for (size_t at = ptx.find(".shared "); at != std::string::npos; at = ptx.find(".shared ", at + 1)) {
        std::string line = ptx.substr(at, ptx.find(';', at) - at);
        size_t bracket = line.find('[');
        if (bracket != std::string::npos) {
            size_t name = line.find_last_of(" \t", bracket) + 1;
            shared[line.substr(name, bracket - name)] = size_of(line);
        }
    }
    std::map<std::string, Declared> entries;
    for (size_t at = ptx.find(".entry "); at != std::string::npos; at = ptx.find(".entry ", at + 1)) {
        size_t open = ptx.find('(', at), close = ptx.find(')', at);
        if (open == std::string::npos || close == std::string::npos) {
            break;
        }
        std::istringstream name(ptx.substr(at + 7, open - at - 7));
        std::string word;
        name >> word;
        Declared declared{{}, 0};
        std::istringstream parameters(ptx.substr(open + 1, close - open - 1));
        for (std::string parameter; std::getline(parameters, parameter, ',');) {
            if (parameter.find(".param") != std::string::npos) {
                declared.parameters.push_back(size_of(parameter));
            }
        }
        size_t next = ptx.find(".entry ", at + 1);
        std::string body = ptx.substr(close, next == std::string::npos ? next : next - close);
        for (const auto& variable : shared) {
            declared.static_shared += body.find(variable.first) != std::string::npos ? variable.second : 0;
        }
        entries[word] = declared;
    }
    return entries;
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
    bool guarded = settings::guard.value != 0;
    std::string file = kernels_file(target, guarded);
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        say("no compiled kernels for this PTX: %s", dlerror());
        return CUDA_ERROR_INVALID_PTX;
    }
    auto entries = reinterpret_cast<const Entry* (*)()>(dlsym(library, "emulator_entries"));
    auto anchor = reinterpret_cast<void* (*)()>(dlsym(library, "emulator_shared_anchor"));
    if (entries == nullptr || anchor == nullptr) {
        say("%s was not built by this Makefile", file.c_str());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    auto module = new Module{target, device, {}, guarded, anchor};
    std::map<std::string, Declared> declared = declared_entries(ptx);
    for (const Entry* entry = entries(); entry->name != nullptr; entry++) {
        auto found = declared.find(entry->name);
        if (found == declared.end()) {
            continue;
        }
        std::vector<unsigned> sizes(entry->sizes, entry->sizes + entry->parameters);
        if (sizes != found->second.parameters) {
            say("kernel %s has other parameters in its source than in the PTX: run make -C cuda-kernels", entry->name);
            delete module;
            return CUDA_ERROR_INVALID_PTX;
        }
        module->functions[entry->name] = {*entry, module, found->second.static_shared, 0, sizes};
    }
    for (const auto& entry : declared) {
        if (module->functions.find(entry.first) == module->functions.end()) {
            say("kernel %s is in the PTX but not in the compiled sources: run make -C cuda-kernels", entry.first.c_str());
        }
    }
    result = module;
    return CUDA_SUCCESS;
}

}  // namespace emulator
