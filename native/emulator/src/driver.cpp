// The driver API as far as a compute library needs it. Real answers to right calls, refusals with a line to wrong ones.
#include "api.h"
#include "launch.h"
#include "memory.h"
#include "module.h"
#include "settings.h"
#include "stream.h"

#include <cstring>
#include <map>
#include <memory>

using namespace emulator;

API const char* emulator_last_words();

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

thread_local Device* current = nullptr;
std::atomic<bool> initialized{false};

struct ErrorText {
    int code;
    const char *name, *text;
};

const ErrorText ERRORS[] = {
        {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
        {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
        {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
        {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
        {CUDA_ERROR_STUB_LIBRARY, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
        {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
        {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
        {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
        {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
        {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
        {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
        {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
                "the provided PTX was compiled with an unsupported toolchain."},
        {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
        {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
        {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
        {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
        {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
        {CUDA_ERROR_ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
        {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
        {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
        {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
        {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"}};

// What most calls check first: initialised, a current context, no failed kernel before.
int ready() {
    if (!initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (current == nullptr) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return current->sticky;
}

#define READY \
    Lock lock(engine()); \
    if (int failure = ready()) return failure

// The stream of a handle: 0, 1 and 2 are the default stream.
Stream* stream_of(void* handle) {
    if (reinterpret_cast<uintptr_t>(handle) <= 2) {
        return &current->fallback;
    }
    for (Stream* stream : current->streams) {
        if (stream == handle) {
            return stream;
        }
    }
    say("unknown stream, or one of another device");
    return nullptr;
}

#define STREAM(handle) \
    READY; \
    Stream* stream = stream_of(handle); \
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE

// Enqueues work that is left out once a kernel has failed.
int submit(Stream* stream, std::function<void()> work) {
    Device* owner = stream->device;
    enqueue(stream, [owner, work = std::move(work)] {
        if (owner->sticky == 0) {
            work();
        }
    });
    return CUDA_SUCCESS;
}

bool pinned(uintptr_t address) {
    Piece piece;
    return piece_of(address, piece) && piece.device < 0;
}

// A copy in a stream. Pageable host memory is read and written before the call returns, as the driver does.
int copy(const char* what, void* handle, uintptr_t target, bool target_on_device, uintptr_t source, bool source_on_device,
        size_t bytes) {
    STREAM(handle);
    if (!(target_on_device ? check_device_range : check_host_range)(what, target, bytes)
            || !(source_on_device ? check_device_range : check_host_range)(what, source, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    submit(stream, [=] { memmove(reinterpret_cast<void*>(target), reinterpret_cast<void*>(source), bytes); });
    if ((!target_on_device && !pinned(target)) || (!source_on_device && !pinned(source))) {
        drain(stream, stream->enqueued);
    }
    return CUDA_SUCCESS;
}

template <class T> int fill(const char* what, void* handle, uintptr_t target, T value, size_t count) {
    STREAM(handle);
    if (target % sizeof(T) != 0) {
        say("%s: 0x%zx is not a multiple of %zu", what, size_t(target), sizeof(T));
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!check_device_range(what, target, count * sizeof(T))) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return submit(stream, [=] { std::fill_n(reinterpret_cast<T*>(target), count, value); });
}

// The parameters of a launch, kept until it runs.
struct Parameters {
    std::vector<uint64_t> storage;
    std::vector<void*> pointers;
};

// From an array of pointers, or from a packed buffer whose size has to be that of the parameters.
int read_parameters(const Function& function, void** given, void** extra, Parameters& parameters) {
    size_t words = 0;
    for (unsigned size : function.parameter_sizes) {
        words += (size + 7) / 8;
    }
    parameters.storage.resize(words + 1);
    const unsigned char* buffer = nullptr;
    size_t buffer_bytes = 0;
    for (void** e = extra; e != nullptr && *e != nullptr; e += 2) {
        if (reinterpret_cast<uintptr_t>(e[0]) == 1) {
            buffer = static_cast<const unsigned char*>(e[1]);
        } else if (reinterpret_cast<uintptr_t>(e[0]) == 2) {
            buffer_bytes = *static_cast<size_t*>(e[1]);
        }
    }
    if ((given != nullptr) == (buffer != nullptr) && !function.parameter_sizes.empty()) {
        say("kernel %s: launched %s parameters", function.entry.name, given == nullptr ? "without" : "with two lots of");
        return CUDA_ERROR_INVALID_VALUE;
    }
    size_t offset = 0, word = 0;
    for (size_t i = 0; i < function.parameter_sizes.size(); i++) {
        unsigned size = function.parameter_sizes[i];
        const void* from;
        if (buffer != nullptr) {
            size_t alignment = size == 8 || size == 4 || size == 2 || size == 1 ? size : 4;
            offset = (offset + alignment - 1) / alignment * alignment;
            from = buffer + offset;
            offset += size;
            if (offset > buffer_bytes) {
                break;
            }
        } else {
            from = given[i];
            if (from == nullptr) {
                say("kernel %s: parameter %zu of %zu is missing", function.entry.name, i, function.parameter_sizes.size());
                return CUDA_ERROR_INVALID_VALUE;
            }
        }
        memcpy(&parameters.storage[word], from, size);
        parameters.pointers.push_back(&parameters.storage[word]);
        word += (size + 7) / 8;
    }
    if (buffer != nullptr && offset != buffer_bytes) {
        say("kernel %s: %zu bytes of parameters, expected %zu", function.entry.name, buffer_bytes, offset);
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

int refuse(const Function& function, const char* why, dim3 grid, dim3 block, size_t shared, int code) {
    say("kernel %s: %s: grid (%u, %u, %u), block (%u, %u, %u), %zu bytes of dynamic and %zu of static shared memory",
            function.entry.name, why, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, function.static_shared);
    return code;
}

}  // namespace

#define NO_STUB \
    if (settings::stub.value != 0) return CUDA_ERROR_STUB_LIBRARY

API int cuInit(unsigned flags) {
    NO_STUB;
    if (settings::fail_init.value != 0) {
        return int(settings::fail_init.value);
    }
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (settings::devices.value <= 0) {
        return CUDA_ERROR_NO_DEVICE;
    }
    initialized = true;
    return CUDA_SUCCESS;
}

API int cuDriverGetVersion(int* version) {
    NO_STUB;
    *version = int(settings::driver_version.value);
    return CUDA_SUCCESS;
}

API int cuGetErrorName(int code, const char** name) {
    NO_STUB;
    for (const ErrorText& error : ERRORS) {
        if (error.code == code) {
            *name = error.name;
            return CUDA_SUCCESS;
        }
    }
    *name = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API int cuGetErrorString(int code, const char** text) {
    NO_STUB;
    for (const ErrorText& error : ERRORS) {
        if (error.code == code) {
            *text = error.text;
            return CUDA_SUCCESS;
        }
    }
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API int cuDeviceGetCount(int* count) {
    if (!initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    *count = int(settings::devices.value);
    return CUDA_SUCCESS;
}

API int cuDeviceGet(int* result, int number) {
    if (!initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (device(number) == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *result = number;
    return CUDA_SUCCESS;
}

API int cuDeviceGetName(char* name, int length, int number) {
    if (device(number) == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    snprintf(name, size_t(length), "emulated GPU %d (runs on the CPU, for tests)", number);
    return CUDA_SUCCESS;
}

API int cuDeviceGetUuid(unsigned char* uuid, int number) {
    memset(uuid, 0, 16);
    uuid[15] = static_cast<unsigned char>(number);
    return device(number) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
API int cuDeviceGetUuid_v2(unsigned char* uuid, int number) {
    return cuDeviceGetUuid(uuid, number);
}

API int cuDeviceGetPCIBusId(char* text, int length, int number) {
    snprintf(text, size_t(length), "0000:%02x:00.0", unsigned(number));
    return device(number) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API int cuDeviceTotalMem_v2(size_t* bytes, int number) {
    *bytes = size_t(settings::memory_bytes.value);
    return device(number) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API int cuDeviceComputeCapability(int* major, int* minor, int number) {
    *major = int(settings::compute_capability.value / 10);
    *minor = int(settings::compute_capability.value % 10);
    return device(number) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API int cuDeviceGetAttribute(int* value, int attribute, int number) {
    if (device(number) == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    switch (attribute) {
        case 1: *value = int(MOST_THREADS); break;              // MAX_THREADS_PER_BLOCK
        case 2: case 3: *value = 1024; break;                   // MAX_BLOCK_DIM_X, Y
        case 4: *value = 64; break;                             // MAX_BLOCK_DIM_Z
        case 5: *value = 2147483647; break;                     // MAX_GRID_DIM_X
        case 6: case 7: *value = 65535; break;                  // MAX_GRID_DIM_Y, Z
        case 8: *value = int(SHARED_WITHOUT_OPT_IN); break;     // MAX_SHARED_MEMORY_PER_BLOCK
        case 9: *value = 65536; break;                          // TOTAL_CONSTANT_MEMORY
        case 10: *value = int(WARP); break;                     // WARP_SIZE
        case 12: case 82: *value = 65536; break;                // MAX_REGISTERS_PER_BLOCK, PER_MULTIPROCESSOR
        case 13: *value = 1500000; break;                       // CLOCK_RATE, kHz
        case 15: case 31: case 41: *value = 1; break;           // GPU_OVERLAP, CONCURRENT_KERNELS, UNIFIED_ADDRESSING
        case 16: *value = int(settings::multiprocessors.value); break;
        case 19: *value = 1; break;                             // CAN_MAP_HOST_MEMORY
        case 36: *value = 1500000; break;                       // MEMORY_CLOCK_RATE, kHz
        case 37: *value = 256; break;                           // GLOBAL_MEMORY_BUS_WIDTH
        case 38: *value = int(settings::l2_bytes.value); break; // L2_CACHE_SIZE
        case 39: *value = 2048; break;                          // MAX_THREADS_PER_MULTIPROCESSOR
        case 40: *value = 2; break;                             // ASYNC_ENGINE_COUNT
        case 75: *value = int(settings::compute_capability.value / 10); break;
        case 76: *value = int(settings::compute_capability.value % 10); break;
        case 81: *value = int(MOST_SHARED) + 1024; break;       // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        case 97: *value = int(MOST_SHARED); break;              // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        case 106: *value = 32; break;                           // MAX_BLOCKS_PER_MULTIPROCESSOR
        case 111: *value = 1024; break;                         // RESERVED_SHARED_MEMORY_PER_BLOCK
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}

API int cuDeviceCanAccessPeer(int* can, int, int) {
    *can = 0;
    return CUDA_SUCCESS;
}

// --- contexts: one a device, the primary one

API int cuDevicePrimaryCtxRetain(void** context, int number) {
    Lock lock(engine());
    if (!initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    Device* found = device(number);
    if (found == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    found->retained++;
    *context = found;
    return CUDA_SUCCESS;
}

API int cuDevicePrimaryCtxReset_v2(int number) {
    Lock lock(engine());
    Device* found = device(number);
    if (found == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    for (Stream* stream : found->streams) {
        delete stream;
    }
    found->streams.clear();
    found->fallback.waiting.clear();
    found->sticky = 0;
    release_all(number);
    return CUDA_SUCCESS;
}

API int cuDevicePrimaryCtxRelease_v2(int number) {
    Lock lock(engine());
    Device* found = device(number);
    if (found == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    if (found->retained == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return --found->retained == 0 ? cuDevicePrimaryCtxReset_v2(number) : CUDA_SUCCESS;
}

API int cuDevicePrimaryCtxGetState(int number, unsigned* flags, int* active) {
    Lock lock(engine());
    Device* found = device(number);
    if (found == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *flags = 0;
    *active = found->retained > 0;
    return CUDA_SUCCESS;
}

API int cuCtxSetCurrent(void* context) {
    Lock lock(engine());
    if (!initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    auto* wanted = static_cast<Device*>(context);
    if (wanted != nullptr && wanted->retained == 0) {
        say("cuCtxSetCurrent: the context was released");
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    current = wanted;
    return CUDA_SUCCESS;
}

API int cuCtxGetCurrent(void** context) {
    *context = current;
    return initialized ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

API int cuCtxGetDevice(int* number) {
    if (current == nullptr) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    *number = current->number;
    return CUDA_SUCCESS;
}

API int cuCtxSynchronize() {
    READY;
    drain(current);
    return current->sticky;
}

// --- modules

API int cuModuleLoadData(void** module, const void* image) {
    READY;
    Module* loaded = nullptr;
    if (settings::fail_jit.value != 0) {
        say("ptxas application ptx input, line 7; error: fails as set");
        return CUDA_ERROR_INVALID_PTX;
    }
    int code = load_module(static_cast<const char*>(image), current->number, loaded);
    *module = loaded;
    return code;
}

// Of the options, the log of errors is filled in.
API int cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* options, void** values) {
    constexpr int ERROR_LOG = 5, ERROR_LOG_BYTES = 6;
    char* log = nullptr;
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        log = options[i] == ERROR_LOG ? static_cast<char*>(values[i]) : log;
        bytes = options[i] == ERROR_LOG_BYTES ? reinterpret_cast<uintptr_t>(values[i]) & 0xffffffff : bytes;
    }
    int code = cuModuleLoadData(module, image);
    if (code != CUDA_SUCCESS && log != nullptr && bytes > 0) {
        snprintf(log, bytes, "%s", emulator_last_words());
    }
    return code;
}

API int cuModuleUnload(void* module) {
    READY;
    drain(current);
    delete static_cast<Module*>(module);
    return CUDA_SUCCESS;
}

API int cuModuleGetFunction(void** function, void* module, const char* name) {
    READY;
    auto& functions = static_cast<Module*>(module)->functions;
    auto found = functions.find(name);
    if (found == functions.end()) {
        say("no kernel %s, or not in both the PTX and the compiled sources", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    *function = &found->second;
    return CUDA_SUCCESS;
}

API int cuFuncSetAttribute(void* handle, int attribute, int value) {
    READY;
    auto* function = static_cast<Function*>(handle);
    if (attribute == 8) {  // MAX_DYNAMIC_SHARED_SIZE_BYTES
        if (value < 0 || size_t(value) + function->static_shared > MOST_SHARED) {
            say("kernel %s: %d bytes of shared memory are more than the %zu of a block", function->entry.name, value,
                    MOST_SHARED);
            return CUDA_ERROR_INVALID_VALUE;
        }
        function->opted_in_shared = size_t(value);
    }
    return CUDA_SUCCESS;
}

API int cuFuncSetCacheConfig(void*, int) {
    return ready();
}

API int cuFuncGetAttribute(int* value, int attribute, void* handle) {
    READY;
    auto* function = static_cast<Function*>(handle);
    switch (attribute) {
        case 0: *value = int(MOST_THREADS); break;                              // MAX_THREADS_PER_BLOCK
        case 1: *value = int(function->static_shared); break;                   // SHARED_SIZE_BYTES
        case 5: case 6: *value = function->module->target; break;               // PTX_VERSION, BINARY_VERSION
        case 8: *value = int(std::max(function->opted_in_shared, SHARED_WITHOUT_OPT_IN - function->static_shared)); break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}

API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* handle, int threads, size_t shared) {
    READY;
    auto* function = static_cast<Function*>(handle);
    if (threads <= 0 || threads > int(MOST_THREADS)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    long by_shared = long((MOST_SHARED + 1024) / (shared + function->static_shared + 1024));
    *blocks = int(std::min({32L, long(2048 / threads), by_shared}));
    return CUDA_SUCCESS;
}

API int cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
        unsigned block_z, unsigned shared, void* stream_handle, void** parameters, void** extra) {
    STREAM(stream_handle);
    auto* function = static_cast<Function*>(handle);
    if (function == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (function->module->device != current->number) {
        say("kernel %s: its module was loaded on device %d, this is device %d", function->entry.name,
                function->module->device, current->number);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    dim3 grid(grid_x, grid_y, grid_z), block(block_x, block_y, block_z);
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || block_x == 0 || block_y == 0 || block_z == 0) {
        return refuse(*function, "a size is zero", grid, block, shared, CUDA_ERROR_INVALID_VALUE);
    }
    if (grid_x > 2147483647 || grid_y > 65535 || grid_z > 65535) {
        return refuse(*function, "the grid is too large", grid, block, shared, CUDA_ERROR_INVALID_VALUE);
    }
    if (block_x > 1024 || block_y > 1024 || block_z > 64 || size_t(block_x) * block_y * block_z > MOST_THREADS) {
        return refuse(*function, "the block is too large", grid, block, shared, CUDA_ERROR_INVALID_VALUE);
    }
    if (shared + function->static_shared > MOST_SHARED) {
        return refuse(*function, "too much shared memory", grid, block, shared, CUDA_ERROR_INVALID_VALUE);
    }
    if (shared + function->static_shared > SHARED_WITHOUT_OPT_IN && shared > function->opted_in_shared) {
        return refuse(*function, "more than 48 KiB of shared memory without cuFuncSetAttribute", grid, block, shared,
                CUDA_ERROR_INVALID_VALUE);
    }
    auto kept = std::make_shared<Parameters>();
    if (int code = read_parameters(*function, parameters, extra, *kept)) {
        return code;
    }
    Device* owner = current;
    return submit(stream, [=] {
        if (strikes(settings::fail_launch)) {
            say("kernel %s: fails as set", function->entry.name);
            owner->sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
            return;
        }
        Fault fault = run(*function, kept->pointers.data(), grid, block, shared);
        if (fault.code != 0) {
            say("%s", fault.text.c_str());
            owner->sticky = fault.code;
        }
    });
}

// --- memory

API int cuMemAlloc_v2(uintptr_t* address, size_t bytes) {
    READY;
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (strikes(settings::fail_allocation)) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return allocate(current->number, bytes, *address);
}

API int cuMemFree_v2(uintptr_t address) {
    READY;
    drain(current);
    return address == 0 || release(address, false) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API int cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    READY;
    uintptr_t address = 0;
    if (strikes(settings::fail_allocation)) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    int code = bytes == 0 ? CUDA_ERROR_INVALID_VALUE : allocate(-1, bytes, address);
    *memory = reinterpret_cast<void*>(address);
    return code;
}

API int cuMemAllocHost_v2(void** memory, size_t bytes) {
    return cuMemHostAlloc(memory, bytes, 0);
}

API int cuMemFreeHost(void* memory) {
    READY;
    drain(current);
    return release(reinterpret_cast<uintptr_t>(memory), true) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API int cuMemGetInfo_v2(size_t* free, size_t* total) {
    READY;
    memory_info(current->number, *free, *total);
    return CUDA_SUCCESS;
}

API int cuMemGetAddressRange_v2(uintptr_t* base, size_t* bytes, uintptr_t address) {
    READY;
    Piece piece;
    if (!piece_of(address, piece)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (base != nullptr) *base = piece.address;
    if (bytes != nullptr) *bytes = piece.bytes;
    return CUDA_SUCCESS;
}

API int cuMemcpyHtoD_v2(uintptr_t target, const void* source, size_t bytes) {
    return copy("cuMemcpyHtoD", nullptr, target, true, reinterpret_cast<uintptr_t>(source), false, bytes);
}
API int cuMemcpyHtoDAsync_v2(uintptr_t target, const void* source, size_t bytes, void* stream) {
    return copy("cuMemcpyHtoDAsync", stream, target, true, reinterpret_cast<uintptr_t>(source), false, bytes);
}
API int cuMemcpyDtoH_v2(void* target, uintptr_t source, size_t bytes) {
    int code = copy("cuMemcpyDtoH", nullptr, reinterpret_cast<uintptr_t>(target), false, source, true, bytes);
    return code != 0 ? code : current->sticky;
}
API int cuMemcpyDtoHAsync_v2(void* target, uintptr_t source, size_t bytes, void* stream) {
    return copy("cuMemcpyDtoHAsync", stream, reinterpret_cast<uintptr_t>(target), false, source, true, bytes);
}
API int cuMemcpyDtoD_v2(uintptr_t target, uintptr_t source, size_t bytes) {
    return copy("cuMemcpyDtoD", nullptr, target, true, source, true, bytes);
}
API int cuMemcpyDtoDAsync_v2(uintptr_t target, uintptr_t source, size_t bytes, void* stream) {
    return copy("cuMemcpyDtoDAsync", stream, target, true, source, true, bytes);
}
API int cuMemcpyPeerAsync(uintptr_t target, void* target_context, uintptr_t source, void* source_context, size_t bytes,
        void* stream) {
    Piece to, from;
    if (!piece_of(target, to) || !piece_of(source, from) || to.device != static_cast<Device*>(target_context)->number
            || from.device != static_cast<Device*>(source_context)->number) {
        say("cuMemcpyPeer: a context does not own its memory");
        return CUDA_ERROR_INVALID_VALUE;
    }
    return copy("cuMemcpyPeer", stream, target, true, source, true, bytes);
}
API int cuMemcpyPeer(uintptr_t target, void* target_context, uintptr_t source, void* source_context, size_t bytes) {
    return cuMemcpyPeerAsync(target, target_context, source, source_context, bytes, nullptr);
}

API int cuMemsetD8_v2(uintptr_t target, unsigned char value, size_t count) {
    return fill("cuMemsetD8", nullptr, target, value, count);
}
API int cuMemsetD8Async(uintptr_t target, unsigned char value, size_t count, void* stream) {
    return fill("cuMemsetD8Async", stream, target, value, count);
}
API int cuMemsetD32_v2(uintptr_t target, unsigned value, size_t count) {
    return fill("cuMemsetD32", nullptr, target, value, count);
}
API int cuMemsetD32Async(uintptr_t target, unsigned value, size_t count, void* stream) {
    return fill("cuMemsetD32Async", stream, target, value, count);
}

// --- streams and events

API int cuStreamCreate(void** handle, unsigned flags) {
    READY;
    auto* stream = new Stream{current, flags != 1, 0, 0, {}};
    current->streams.push_back(stream);
    *handle = stream;
    return CUDA_SUCCESS;
}

API int cuStreamCreateWithPriority(void** handle, unsigned flags, int) {
    return cuStreamCreate(handle, flags);
}

API int cuStreamDestroy_v2(void* handle) {
    READY;
    Stream* stream = stream_of(handle);
    if (stream == nullptr || stream == &current->fallback) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    drain(stream, stream->enqueued);
    auto& all = current->streams;
    all.erase(std::find(all.begin(), all.end(), stream));
    delete stream;
    return CUDA_SUCCESS;
}

API int cuStreamSynchronize(void* handle) {
    STREAM(handle);
    drain(stream, stream->enqueued);
    return current->sticky;
}

API int cuStreamQuery(void* handle) {
    STREAM(handle);
    bool pending = stream->done < stream->enqueued;
    drain(stream, stream->done + 1);
    return pending ? int(CUDA_ERROR_NOT_READY) : current->sticky;
}

API int cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
    STREAM(handle);
    auto* event = static_cast<Event*>(event_handle);
    if (event->stream != nullptr && event->stream != stream) {
        enqueue(stream, [other = event->stream, position = event->position] { drain(other, position); });
    }
    return CUDA_SUCCESS;
}

API int cuEventCreate(void** event, unsigned) {
    READY;
    *event = new Event;
    return CUDA_SUCCESS;
}

API int cuEventDestroy_v2(void* handle) {
    READY;
    auto* event = static_cast<Event*>(handle);
    if (event->stream != nullptr) {
        drain(event->stream, event->position);
    }
    delete event;
    return CUDA_SUCCESS;
}

API int cuEventRecord(void* handle, void* stream_handle) {
    STREAM(stream_handle);
    auto* event = static_cast<Event*>(handle);
    event->stream = stream;
    event->position = stream->enqueued + 1;
    event->recorded = false;
    enqueue(stream, [event] {
        event->time = std::chrono::steady_clock::now();
        event->recorded = true;
    });
    return CUDA_SUCCESS;
}

API int cuEventSynchronize(void* handle) {
    READY;
    auto* event = static_cast<Event*>(handle);
    if (event->stream != nullptr) {
        drain(event->stream, event->position);
    }
    return current->sticky;
}

API int cuEventQuery(void* handle) {
    READY;
    auto* event = static_cast<Event*>(handle);
    if (event->stream == nullptr || event->recorded) {
        return CUDA_SUCCESS;
    }
    drain(event->stream, event->stream->done + 1);
    return CUDA_ERROR_NOT_READY;
}

API int cuEventElapsedTime(float* milliseconds, void* start_handle, void* end_handle) {
    READY;
    auto *start = static_cast<Event*>(start_handle), *end = static_cast<Event*>(end_handle);
    if (start->stream == nullptr || end->stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!start->recorded || !end->recorded) {
        return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
    return CUDA_SUCCESS;
}

// --- for the stand-ins of cuBLAS and cuDNN

// The device of the calling thread's context, or -1.
API int emulator_current_device() {
    return current == nullptr ? -1 : current->number;
}

// Whether a range lies within one piece of the current device's memory; if not, a line says why.
API int emulator_check_device_range(const char* what, const void* pointer, size_t bytes) {
    auto address = reinterpret_cast<uintptr_t>(pointer);
    Piece piece;
    if (piece_of(address, piece) && piece.device >= 0 && piece.device != emulator_current_device()) {
        say("%s: 0x%zx is memory of device %d, this is device %d", what, size_t(address), piece.device, emulator_current_device());
        return false;
    }
    return check_device_range(what, address, bytes);
}

// Enqueues work on a copy of its argument in a stream; answers a code of the driver API.
API int emulator_submit(void* stream_handle, void (*work)(const void*), const void* argument, size_t bytes) {
    STREAM(stream_handle);
    auto* first = static_cast<const char*>(argument);
    return submit(stream, [work, kept = std::vector<char>(first, first + bytes)] { work(kept.data()); });
}

// Undoes a kernel's failure, which on a real device only a new process does.
API void emulator_forget_failure() {
    Lock lock(engine());
    for (int i = 0; device(i) != nullptr; i++) {
        device(i)->sticky = 0;
    }
}
