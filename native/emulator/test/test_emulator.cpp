// The emulator tried from outside, through the driver API. Prints each failed check; exit code 1 if there is one.
#include "driver.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace {

int failures = 0;
std::string section;

void check(bool ok, const std::string& what, int line = __builtin_LINE()) {
    if (!ok) {
        failures++;
        fprintf(stderr, "FAILED: %s: %s (line %d)\n", section.c_str(), what.c_str(), line);
    }
}

void succeeds(int code, int line = __builtin_LINE()) {
    const char* name = "?";
    cuGetErrorName(code, &name);
    check(code == 0, std::string("answered ") + std::to_string(code) + " " + name, line);
}

void answers(int expected, int code, const char* words, int line = __builtin_LINE()) {
    check(code == expected, "answered " + std::to_string(code) + ", expected " + std::to_string(expected), line);
    std::string said = emulator_last_words();
    check(said.find(words) != std::string::npos, "said \"" + said + "\", without \"" + words + "\"", line);
}

// PTX as far as the emulator reads it: p for 64 bits, i for 32.
std::string ptx(const char* version, int target) {
    static const std::pair<const char*, const char*> ENTRIES[] = {{"indices", "p"}, {"warp_functions", "p"}, {"block_sums", "ppi"},
            {"barrier_votes", "pp"}, {"atomic_functions", "pppp"}, {"copy_through_shared", "ppi"}, {"mma_product", "pppi"}, {"mma_products", "pppi"},
            {"store_beyond", "pi"}, {"load_before", "pp"}, {"misaligned_load", "pp"}, {"index_beyond_array", "pi"},
            {"beyond_dynamic_shared", "p"}, {"missing_barrier", "pp"}, {"missing_warp_barrier", "pp"},
            {"missing_second_barrier", "pp"}, {"missing_copy_wait", "pp"}, {"barrier_after_exit", "pi"}, {"two_barriers", "p"},
            {"shuffle_in_branch", "p"}, {"shuffle_outside_mask", "p"}, {"deliberate_trap", "p"}, {"much_shared", "p"},
            {"only_in_ptx", "p"}};
    std::string text = std::string(".version ") + version + "\n.target sm_" + std::to_string(target) + "\n.address_size 64\n";
    for (const auto& entry : ENTRIES) {
        if (target < 80 && strncmp(entry.first, "mma_product", 11) == 0) {
            continue;
        }
        text += std::string(".visible .entry ") + entry.first + "(\n";
        for (size_t i = 0; entry.second[i]; i++) {
            text += std::string(i ? ",\n" : "") + "\t.param " + (entry.second[i] == 'p' ? ".u64" : ".u32") + " " + entry.first
                    + "_param_" + std::to_string(i);
        }
        text += "\n)\n{\n\tret;\n}\n";
    }
    return text;
}

struct Buffer {
    Address address = 0;
    size_t bytes;

    explicit Buffer(size_t size) : bytes(size) { succeeds(cuMemAlloc_v2(&address, size)); }
    template <class T> explicit Buffer(const std::vector<T>& values) : Buffer(values.size() * sizeof(T)) {
        succeeds(cuMemcpyHtoD_v2(address, values.data(), bytes));
    }
    ~Buffer() { cuMemFree_v2(address); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    template <class T> std::vector<T> read() const {
        std::vector<T> values(bytes / sizeof(T));
        succeeds(cuMemcpyDtoH_v2(values.data(), address, bytes));
        return values;
    }
};

struct Shape {
    unsigned grid, block, shared = 0;
};

void* module_handle = nullptr;

void* function(const char* name) {
    void* result = nullptr;
    succeeds(cuModuleGetFunction(&result, module_handle, name));
    return result;
}

template <class... A> int launch(const char* name, Shape shape, A... arguments) {
    void* parameters[] = {&arguments..., nullptr};
    int code = cuLaunchKernel(function(name), shape.grid, 1, 1, shape.block, 1, 1, shape.shared, nullptr, parameters, nullptr);
    return code != 0 ? code : cuCtxSynchronize();
}

// All settings as at the start, but that the compiled sources are run. What executes PTX is tried in test_ptx.cpp.
void compiled_kernels() {
    emulator_restore_settings();
    emulator_set("ptx", 0);
}

void load(int target) {
    succeeds(cuModuleLoadData(&module_handle, ptx(target == 75 ? "6.3" : "7.0", target).c_str()));
}

void with(const char* name, const std::function<void()>& body) {
    section = name;
    body();
    emulator_forget_failure();
}

// A launch that must fail with words, after which the device answers the same until told to forget.
template <class... A>
void fails(const char* kernel, int code, const char* words, Shape shape, A... arguments) {
    section = std::string("fault of ") + kernel;
    answers(code, launch(kernel, shape, arguments...), words);
    answers(code, cuCtxSynchronize(), words);
    check(std::string(emulator_last_words()).find(std::string("kernel ") + kernel) != std::string::npos, "names the kernel");
    emulator_forget_failure();
}

void right_kernels() {
    with("indices", [] {
        Buffer out(6 * 30 * 4);
        unsigned n = 0;
        void* parameters[] = {&out.address};
        succeeds(cuLaunchKernel(function("indices"), 1, 2, 3, 5, 3, 2, 0, nullptr, parameters, nullptr));
        for (unsigned value : out.read<unsigned>()) {
            check(value == n / 30 * 1000 + n % 30, "thread " + std::to_string(n) + " wrote " + std::to_string(value));
            n++;
        }
    });
    with("warp functions", [] {
        Buffer out(32 * 12 * 4);
        succeeds(launch("warp_functions", {1, 32}, out.address));
        std::vector<int> r = out.read<int>();
        for (int lane = 0; lane < 32; lane++) {
            const int expected[] = {50, lane ^ 3, lane < 2 ? lane : lane - 2, lane > 29 ? lane : lane + 2, lane / 8 * 8 + 1,
                    lane ^ 16, 0x49249249, 1, lane < 16 ? lane ^ 1 : lane ^ 2, 496, -9, -128 * -128 + 127 * -2 - 1 * 3 + 2 + lane};
            for (int i = 0; i < 12; i++) {
                check(r[size_t(12 * lane + i)] == expected[i], "lane " + std::to_string(lane) + ", result " + std::to_string(i)
                        + " is " + std::to_string(r[size_t(12 * lane + i)]) + ", not " + std::to_string(expected[i]));
            }
        }
    });
    with("block sums", [] {
        std::vector<float> x(1000);
        std::vector<float> sums(4, 0);
        for (size_t i = 0; i < x.size(); i++) {
            x[i] = float(i % 7);
            sums[i / 256] += x[i];
        }
        Buffer in(x), out(16);
        succeeds(launch("block_sums", {4, 256, 1024}, in.address, out.address, 1000));
        check(out.read<float>() == sums, "sums differ");
    });
    with("votes at the barrier", [] {
        Buffer in(std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), out(12);
        succeeds(launch("barrier_votes", {1, 10}, in.address, out.address));
        check(out.read<int>() == std::vector<int>{7, 1, 0}, "votes differ");
    });
    with("atomics", [] {
        Buffer counter(std::vector<int>{0}), sum(std::vector<float>{0}), largest(std::vector<int>{-1}),
                wide(std::vector<long>{0});
        succeeds(launch("atomic_functions", {50, 200}, counter.address, sum.address, largest.address, wide.address));
        check(counter.read<int>()[0] == 10000 && sum.read<float>()[0] == 5000 && largest.read<int>()[0] == 9999
                && wide.read<long>()[0] == 10000L << 32, "sums differ");
    });
    with("asynchronous copies", [] {
        std::vector<unsigned char> x(16 * 1001);
        for (size_t i = 0; i < x.size(); i++) {
            x[i] = static_cast<unsigned char>(i * 31 % 251);
        }
        Buffer in(x), out(x.size());
        succeeds(launch("copy_through_shared", {3, 64, 2 * 64 * 16}, in.address, out.address, 1001));
        check(out.read<unsigned char>() == x, "copies differ");
    });
}

// Products of `warps` matrices [rows, 32] and [columns, 32], all codes occurring.
void mma(const char* kernel, size_t rows, size_t columns) {
    section = kernel;
    const size_t warps = 6;
    const int rounds = 3;
    std::vector<signed char> a(warps * rows * 32), b(warps * columns * 32);
    std::vector<int> c(warps * rows * columns), expected(c.size());
    unsigned seed = 1;
    for (auto* codes : {&a, &b}) {
        for (signed char& code : *codes) {
            seed = seed * 1664525 + 1013904223;
            code = static_cast<signed char>(seed >> 24);
        }
    }
    a[0] = b[0] = -128;
    for (size_t i = 0; i < c.size(); i++) {
        size_t warp = i / (rows * columns), row = i / columns % rows, column = i % columns;
        expected[i] = c[i] = int(i) - 300;
        for (size_t k = 0; k < 32; k++) {
            expected[i] += rounds * a[(warp * rows + row) * 32 + k] * b[(warp * columns + column) * 32 + k];
        }
    }
    Buffer in_a(a), in_b(b), out(c);
    succeeds(launch(kernel, {3, 64}, in_a.address, in_b.address, out.address, rounds));
    check(out.read<int>() == expected, "products differ");
}

// Faults that every build finds.
void found_always() {
    Buffer y(4096);
    fails("barrier_after_exit", 719, "40 wait at the barrier", {1, 96}, y.address, 40);
    fails("barrier_after_exit", 719, "block (0, 0, 0)", {1, 96}, y.address, 40);
    fails("two_barriers", 719, "32 wait at the barrier of line", {1, 64}, y.address);
    fails("shuffle_in_branch", 719, "wait for their warp in line", {1, 32}, y.address);
    fails("shuffle_outside_mask", 719, "lacks the lane that calls it", {1, 32}, y.address);
    fails("deliberate_trap", 710, "y[threadIdx.x] == 0", {1, 32}, y.address);
}

void found_by_order() {
    std::vector<float> x(256), right(256);
    for (size_t i = 0; i < 256; i++) {
        x[i] = float(i);
        right[i] = float((i + 32) % 256);
    }
    Buffer in(x), out(1024), pair(128);
    with("missing barriers show when warps and lanes run backwards", [&] {
        succeeds(launch("missing_barrier", {1, 256, 1024}, in.address, out.address));
        auto forwards = out.read<float>();
        emulator_set("reversed", 1);
        succeeds(launch("missing_barrier", {1, 256, 1024}, in.address, out.address));
        auto backwards = out.read<float>();
        emulator_set("reversed", 0);
        // each order shows the reads that come before the writes in it
        check(std::isnan(forwards[0]) && forwards[255] == right[255], "forwards: the first warp reads before the second writes");
        check(std::isnan(backwards[255]) && backwards[0] == right[0], "backwards: the last warp reads before the first writes");
    });
    with("an asynchronous copy that is not waited for", [&] {
        succeeds(launch("missing_copy_wait", {1, 16, 256}, in.address, out.address));
        check(std::isnan(out.read<float>()[0]), "its target holds garbage");
    });
}

void found_by_guard() {
    Buffer y(256 * 4), x(1024), z(8192);
    succeeds(cuMemsetD8_v2(x.address, 0, 1024));
    fails("store_beyond", 700, "0 bytes after its end", {3, 128}, y.address, 256);
    fails("store_beyond", 700, "thread (0, 0, 0): writes 4 bytes", {3, 128}, y.address, 256);
    fails("store_beyond", 700, "probes.cu:", {3, 128}, y.address, 256);
    fails("load_before", 700, "4 bytes before its start", {1, 32}, x.address, y.address);
    fails("misaligned_load", 716, "multiple of 16", {1, 4}, x.address, z.address);
    fails("index_beyond_array", 700, "index 8 is outside of its array", {1, 64}, y.address, 1);
    fails("beyond_dynamic_shared", 700, "byte 256 of 256 bytes of dynamic shared memory", {1, 64, 256}, y.address);
    fails("missing_barrier", 719, "race in shared memory", {1, 256, 1024}, x.address, y.address);
    fails("missing_warp_barrier", 719, "race in shared memory", {1, 32}, x.address, y.address);
    fails("missing_second_barrier", 719, "another thread read", {1, 64}, x.address, y.address);
    section = "an address of the host";
    float host[64] = {};
    answers(700, launch("store_beyond", {1, 32}, host, 31), "no memory of the device");
    emulator_forget_failure();
}

void impossible_launches() {
    section = "impossible launches";
    Buffer y(4096);
    answers(1, launch("much_shared", {0, 32}, y.address), "a size is zero");
    answers(1, launch("much_shared", {1, 1056}, y.address), "the block is too large: grid (1, 1, 1), block (1056, 1, 1)");
    answers(1, launch("much_shared", {1, 32, 50000}, y.address), "without cuFuncSetAttribute");
    answers(1, launch("much_shared", {1, 32, 300000}, y.address), "too much shared memory");
    answers(1, cuFuncSetAttribute(function("much_shared"), 8, 300000), "more than the 232448 of a block");
    succeeds(cuFuncSetAttribute(function("much_shared"), 8, 100000));
    succeeds(launch("much_shared", {1, 32, 100000}, y.address));
    void* none[] = {nullptr};
    answers(1, cuLaunchKernel(function("much_shared"), 1, 1, 1, 32, 1, 1, 0, nullptr, none, nullptr), "parameter 0 of 1 is missing");
    size_t bytes = 12;
    unsigned char packed[16];
    memcpy(packed, &y.address, 8);
    void* extra[] = {reinterpret_cast<void*>(1), packed, reinterpret_cast<void*>(2), &bytes, nullptr};
    answers(1, cuLaunchKernel(function("much_shared"), 1, 1, 1, 32, 1, 1, 128, nullptr, nullptr, extra), "12 bytes of parameters, expected 8");
    bytes = 8;
    succeeds(cuLaunchKernel(function("much_shared"), 1, 1, 1, 32, 1, 1, 128, nullptr, nullptr, extra));
    succeeds(cuCtxSynchronize());
    check(y.read<int>()[31] == 1, "a packed launch runs");
}

void modules() {
    section = "modules";
    void *handle, *found;
    answers(500, cuModuleGetFunction(&found, module_handle, "only_in_ptx"), "only_in_ptx");
    answers(500, cuModuleGetFunction(&found, module_handle, "nothing"), "nothing");
    answers(222, cuModuleLoadData(&handle, ptx("9.0", 80).c_str()), "needs a driver for CUDA 13.0");
    answers(200, cuModuleLoadData(&handle, "no text"), "no PTX");
    std::string other = ptx("7.0", 80);
    other.replace(other.find(".u32 store_beyond"), 4, ".u64");
    answers(218, cuModuleLoadData(&handle, other.c_str()), "kernel store_beyond has other parameters");
    emulator_set("compute_capability", 75);
    answers(209, cuModuleLoadData(&handle, ptx("7.0", 80).c_str()), "sm_80");
    compiled_kernels();
    emulator_set("driver_version", 11000);
    succeeds(cuModuleLoadData(&handle, ptx("7.0", 80).c_str()));
    succeeds(cuModuleUnload(handle));
    compiled_kernels();
}

void memory() {
    section = "memory";
    long before = emulator_live_allocations();
    {
        Buffer x(1000), y(1000);
        std::vector<char> host(2000);
        check(x.read<unsigned char>()[999] == 0xff, "fresh memory is poisoned");
        answers(1, cuMemcpyHtoD_v2(x.address, host.data(), 1001), "1001 bytes");
        answers(1, cuMemcpyHtoD_v2(x.address + 999, host.data(), 2), "999 bytes after its start");
        answers(1, cuMemcpyDtoH_v2(host.data(), x.address - 1, 4), "cuMemcpyDtoH");
        answers(1, cuMemcpyDtoH_v2(host.data(), reinterpret_cast<Address>(host.data()), 4), "not within one piece");
        answers(1, cuMemcpyDtoH_v2(reinterpret_cast<void*>(y.address), x.address, 4), "not host memory");
        answers(1, cuMemcpyDtoD_v2(x.address, y.address, 1001), "cuMemcpyDtoD");
        answers(1, cuMemsetD32_v2(x.address + 2, 0, 1), "not a multiple of 4");
        answers(1, cuMemsetD32_v2(x.address, 0, 251), "1004 bytes");
        answers(1, cuMemFree_v2(x.address + 8), "no start of device memory");
        check(emulator_live_allocations() == before + 2, "two pieces more");
    }
    check(emulator_live_allocations() == before, "all pieces are freed");
    emulator_set("memory_bytes", 10000);
    Address large = 0;
    size_t free_bytes, total_bytes;
    check(cuMemAlloc_v2(&large, 10001) == 2, "more than there is");
    {
        Buffer x(6000);
        succeeds(cuMemGetInfo_v2(&free_bytes, &total_bytes));
        check(free_bytes == 4000 && total_bytes == 10000, "free and total bytes");
        check(cuMemAlloc_v2(&large, 4001) == 2, "more than is left");
    }
    compiled_kernels();
    emulator_set("fail_allocation", 2);
    succeeds(cuMemAlloc_v2(&large, 16));
    Address second;
    check(cuMemAlloc_v2(&second, 16) == 2, "the second allocation fails as set");
    succeeds(cuMemFree_v2(large));
}

// Work that waits as long as it may shows what is not waited for.
void deferred() {
    section = "deferred work";
    emulator_set("deferred", 1);
    void *pinned_memory, *one, *two, *event;
    succeeds(cuMemHostAlloc(&pinned_memory, 4, 0));
    auto* pinned = static_cast<int*>(pinned_memory);
    succeeds(cuStreamCreate(&one, 1));
    succeeds(cuStreamCreate(&two, 1));
    succeeds(cuEventCreate(&event, 0));
    Buffer x(4), y(4);
    *pinned = 1;
    succeeds(cuMemcpyHtoDAsync_v2(x.address, pinned, 4, one));
    *pinned = 2;  // too early
    succeeds(cuStreamSynchronize(one));
    check(x.read<int>()[0] == 2, "the copy took what was there when it ran");
    *pinned = 3;
    succeeds(cuMemcpyHtoDAsync_v2(x.address, pinned, 4, one));
    succeeds(cuEventRecord(event, one));
    succeeds(cuMemcpyDtoHAsync_v2(pinned, x.address, 4, two));
    succeeds(cuStreamSynchronize(two));
    check(*pinned == 2, "the other stream did not wait");
    *pinned = 4;
    succeeds(cuStreamWaitEvent(two, event, 0));
    succeeds(cuMemcpyDtoHAsync_v2(pinned, x.address, 4, two));
    succeeds(cuStreamSynchronize(two));
    check(*pinned == 4, "the other stream waits for the event, before which the copy took 4");
    int pageable = 5;
    succeeds(cuMemcpyHtoDAsync_v2(x.address, &pageable, 4, one));
    pageable = 6;
    check(x.read<int>()[0] == 5, "pageable memory is read at once");
    check(cuMemcpyHtoDAsync_v2(x.address, pinned, 8, one) == 1, "beyond the pinned piece");
    succeeds(cuEventDestroy_v2(event));
    succeeds(cuStreamDestroy_v2(one));
    succeeds(cuStreamDestroy_v2(two));
    succeeds(cuMemFreeHost(pinned_memory));
    compiled_kernels();
}

template <class T> T element(const std::vector<T>& matrix, int stride, bool transposed, int row, int column) {
    return matrix[size_t(transposed ? column + row * stride : row + column * stride)];
}

// Products of every pair of layouts, at sizes around the tiles of the stand-in.
void cublas_products(void* handle) {
    section = "cuBLAS";
    const float alpha = 2, beta = -1;
    for (int m : {1, 63, 130}) {
        for (int n : {1, 67}) {
            for (int k : {1, 300}) {
                for (int layout = 0; layout < 4; layout++) {
                    const bool ta = layout & 1, tb = layout & 2;
                    const int lda = (ta ? k : m) + 3, ldb = (tb ? n : k) + 1, ldc = m + 2;
                    // two products side by side; small integers, so that every order of summation is exact
                    const int size_a = lda * (ta ? m : k), size_b = ldb * (tb ? k : n), size_c = ldc * n;
                    std::vector<float> a(size_t(2 * size_a)), b(size_t(2 * size_b)), c(size_t(2 * size_c));
                    for (size_t i = 0; i < a.size(); i++) a[i] = float(int(i * 7 % 11) - 5);
                    for (size_t i = 0; i < b.size(); i++) b[i] = float(int(i * 5 % 13) - 6);
                    for (size_t i = 0; i < c.size(); i++) c[i] = float(i % 17);
                    std::vector<float> expected = c;
                    for (int q = 0; q < 2; q++) {
                        std::vector<float> own_a(a.begin() + q * size_a, a.end()), own_b(b.begin() + q * size_b, b.end());
                        for (int i = 0; i < m; i++) {
                            for (int j = 0; j < n; j++) {
                                float sum = 0;
                                for (int l = 0; l < k; l++) {
                                    sum += element(own_a, lda, ta, i, l) * element(own_b, ldb, tb, l, j);
                                }
                                float& target = expected[size_t(q * size_c + i + j * ldc)];
                                target = alpha * sum + beta * target;
                            }
                        }
                    }
                    Buffer on_a(a), on_b(b), on_c(c);
                    succeeds(cublasSgemmStridedBatched(handle, ta, tb, m, n, k, &alpha, reinterpret_cast<float*>(on_a.address), lda,
                            size_a, reinterpret_cast<float*>(on_b.address), ldb, size_b, &beta,
                            reinterpret_cast<float*>(on_c.address), ldc, size_c, 2));
                    check(on_c.read<float>() == expected, "products of " + std::to_string(m) + " x " + std::to_string(k) + " x "
                            + std::to_string(n) + ", layout " + std::to_string(layout));
                }
            }
        }
    }
}

void cublas_codes_and_refusals(void* handle) {
    section = "cuBLAS with codes";
    std::vector<signed char> a(8 * 12), b(8 * 4);
    std::vector<int> expected(12 * 4, 0);
    for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<signed char>(i * 37);
    for (size_t i = 0; i < b.size(); i++) b[i] = static_cast<signed char>(i * 91);
    for (size_t i = 0; i < expected.size(); i++) {
        for (size_t l = 0; l < 8; l++) {
            expected[i] += a[i % 12 * 8 + l] * b[i / 12 * 8 + l];
        }
    }
    Buffer on_a(a), on_b(b), on_c(expected.size() * 4);
    auto multiply = [&](int lda, int k) {
        const int one = 1, zero = 0;
        return cublasGemmEx(handle, 1, 0, 12, 4, k, &one, reinterpret_cast<void*>(on_a.address), 3, lda,
                reinterpret_cast<void*>(on_b.address), 3, 8, &zero, reinterpret_cast<void*>(on_c.address), 10, 12, 72, -1);
    };
    succeeds(multiply(8, 8));
    check(on_c.read<int>() == expected, "products of codes");
    check(multiply(8, 12) == 7, "a leading dimension that is too small");
    check(multiply(9, 8) == 15, "a leading dimension that is no multiple of 4");
    check(multiply(12, 8) == 7, "a matrix that does not fit its memory");
    check(cublasDestroy_v2(nullptr) == 1, "no handle");
}

void cublas() {
    void *handle, *stream;
    section = "cuBLAS";
    emulator_set("fail_cublas", 1);
    check(cublasCreate_v2(&handle) != 0, "fails as set");
    compiled_kernels();
    succeeds(cublasCreate_v2(&handle));
    cublas_products(handle);
    cublas_codes_and_refusals(handle);
    emulator_set("deferred", 1);
    succeeds(cuStreamCreate(&stream, 1));
    succeeds(cublasSetStream_v2(handle, stream));
    const float one = 1, zero = 0;
    Buffer a(std::vector<float>{3}), c(std::vector<float>{0});
    succeeds(cublasSgemmStridedBatched(handle, 0, 0, 1, 1, 1, &one, reinterpret_cast<float*>(a.address), 1, 0,
            reinterpret_cast<float*>(a.address), 1, 0, &zero, reinterpret_cast<float*>(c.address), 1, 0, 1));
    check(c.read<float>()[0] == 0, "a product waits in its stream");
    succeeds(cuStreamSynchronize(stream));
    check(c.read<float>()[0] == 9, "and is there after the stream is waited for");
    compiled_kernels();
    succeeds(cublasDestroy_v2(handle));
    succeeds(cuStreamDestroy_v2(stream));
}

// Softmax of [2, 3, 2, 1] over the second axis and over all but the first, its gradient, and what is refused.
void cudnn() {
    void *handle, *shape, *apart, *stream;
    section = "cuDNN";
    emulator_set("fail_cudnn", 1);
    check(std::string(cudnnGetErrorString(cudnnCreate(&handle))) == "CUDNN_STATUS_NOT_INITIALIZED", "fails as set");
    compiled_kernels();
    succeeds(cudnnCreate(&handle));
    succeeds(cudnnCreateTensorDescriptor(&shape));
    succeeds(cudnnCreateTensorDescriptor(&apart));
    const float one = 1, zero = 0, three = 3;
    std::vector<float> x(12), dy(12);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = float(i * 7 % 5);
        dy[i] = float(i * 5 % 7);
    }
    Buffer on_x(x), on_dy(dy), on_y(std::vector<float>(12)), on_wide(std::vector<float>(24));
    auto forward = [&](int mode, void* to_shape, const float* beta, Buffer& to) {
        return cudnnSoftmaxForward(handle, 1, mode, &one, shape, reinterpret_cast<void*>(on_x.address), beta, to_shape,
                reinterpret_cast<void*>(to.address));
    };
    check(forward(1, shape, &zero, on_y) == 2000, "a descriptor without sizes");
    succeeds(cudnnSetTensor4dDescriptor(shape, 0, 0, 2, 3, 2, 1));
    succeeds(cudnnSetTensor4dDescriptorEx(apart, 0, 2, 3, 2, 1, 12, 4, 2, 1));
    for (int mode : {0, 1}) {
        std::vector<float> y(12), dx(12);
        for (size_t i = 0; i < y.size(); i++) {
            double sum = 0;
            for (size_t j = i / 6 * 6; j < i / 6 * 6 + 6; j++) {
                sum += mode == 0 || j % 2 == i % 2 ? std::exp(double(x[j])) : 0;
            }
            y[i] = float(std::exp(double(x[i])) / sum);
        }
        for (size_t i = 0; i < y.size(); i++) {
            double sum = 0;
            for (size_t j = i / 6 * 6; j < i / 6 * 6 + 6; j++) {
                sum += mode == 0 || j % 2 == i % 2 ? double(y[j]) * dy[j] : 0;
            }
            dx[i] = float(3 * y[i] * (dy[i] - sum));
        }
        auto close = [](const std::vector<float>& a, const std::vector<float>& b, size_t step) {
            for (size_t i = 0; i < b.size(); i++) {
                if (!(std::fabs(a[i * step] - b[i]) <= 1e-6f)) return false;
            }
            return true;
        };
        succeeds(forward(mode, shape, &zero, on_y));
        check(close(on_y.read<float>(), y, 1), "softmax");
        succeeds(forward(mode, apart, &zero, on_wide));
        check(close(on_wide.read<float>(), y, 2), "softmax with other strides");
        Buffer on_dx(dy);
        succeeds(cudnnSoftmaxBackward(handle, 1, mode, &three, shape, reinterpret_cast<void*>(on_y.address), shape,
                reinterpret_cast<void*>(on_dx.address), &zero, shape, reinterpret_cast<void*>(on_dx.address)));
        check(close(on_dx.read<float>(), dx, 1), "gradient in place");
        for (float& value : y) value *= 2;
        succeeds(forward(mode, shape, &one, on_y));
        check(close(on_y.read<float>(), y, 1), "added to what was there");
    }
    check(forward(0, apart, &zero, on_y) == 2000, "an array that does not fit its memory");
    check(cudnnSoftmaxForward(handle, 1, 0, &one, shape, reinterpret_cast<void*>(on_wide.address), &zero, shape,
            reinterpret_cast<void*>(on_wide.address + 4)) == 2000, "arrays that overlap");
    check(cudnnSetTensor4dDescriptor(apart, 0, 0, 1 << 20, 1 << 12, 1, 1) == 3000, "too many elements");
    emulator_set("fail_cudnn", 2);
    check(forward(0, shape, &zero, on_y) == 5000, "fails as set");
    compiled_kernels();
    emulator_set("deferred", 1);
    succeeds(cuStreamCreate(&stream, 1));
    succeeds(cudnnSetStream(handle, stream));
    Buffer later(std::vector<float>(12));
    succeeds(forward(0, shape, &zero, later));
    check(later.read<float>()[0] == 0, "softmax waits in its stream");
    succeeds(cuStreamSynchronize(stream));
    check(later.read<float>()[0] > 0, "and is there after the stream is waited for");
    compiled_kernels();
    succeeds(cudnnDestroyTensorDescriptor(apart));
    succeeds(cudnnDestroyTensorDescriptor(shape));
    succeeds(cudnnDestroy(handle));
    succeeds(cuStreamDestroy_v2(stream));
}

void two_devices() {
    section = "two devices";
    emulator_set("devices", 2);
    void *first, *second;
    succeeds(cuDevicePrimaryCtxRetain(&first, 0));
    succeeds(cuDevicePrimaryCtxRetain(&second, 1));
    Buffer here(1024);
    void* const module_of_first = module_handle;
    void* const kernel_of_first = function("store_beyond");
    emulator_set("guard", 1);
    succeeds(cuCtxSetCurrent(second));
    int n = 31;
    void* parameters[] = {const_cast<Address*>(&here.address), &n};
    answers(400, cuLaunchKernel(kernel_of_first, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr), "loaded on device 0");
    load(80);
    answers(700, launch("store_beyond", {1, 32}, here.address, 31), "no memory of the device");
    succeeds(cuCtxSetCurrent(first));
    succeeds(cuCtxSynchronize());  // the other device is not concerned
    module_handle = module_of_first;
    succeeds(launch("store_beyond", {1, 32}, here.address, 31));
    check(here.read<float>()[31] == 1, "its own device serves it");
    emulator_forget_failure();
    succeeds(cuDevicePrimaryCtxRelease_v2(1));
    succeeds(cuDevicePrimaryCtxRelease_v2(0));
    compiled_kernels();
}

void faults_as_set() {
    section = "faults as set";
    Buffer y(4096);
    emulator_set("fail_launch", 2);
    succeeds(launch("much_shared", {1, 32, 128}, y.address));
    answers(700, launch("much_shared", {1, 32, 128}, y.address), "fails as set");
    check(cuMemcpyHtoD_v2(y.address, &failures, 4) == 700, "the failure stays");
    emulator_forget_failure();
    succeeds(launch("much_shared", {1, 32, 128}, y.address));
    emulator_set("fail_init", 100);
    check(cuInit(0) == 100, "no device");
    compiled_kernels();
    check(emulator_set("no such setting", 1) == -1, "an unknown setting");
}

}  // namespace

int main() {
    void* context;
    check(cuDevicePrimaryCtxRetain(&context, 0) == 3, "nothing works before cuInit");
    succeeds(cuInit(0));
    succeeds(cuDevicePrimaryCtxRetain(&context, 0));
    Address address;
    check(cuMemAlloc_v2(&address, 16) == 201, "nothing works without a context");
    succeeds(cuCtxSetCurrent(context));
    compiled_kernels();
    for (int target : {75, 80}) {
        for (int guard : {0, 1}) {
            emulator_set("guard", guard);
            load(target);
            for (int reversed : {0, 1}) {
                emulator_set("reversed", reversed);
                right_kernels();
                if (target >= 80) {
                    mma("mma_product", 16, 8);
                    mma("mma_products", 32, 24);
                }
                found_always();
            }
            compiled_kernels();
            if (guard) {
                found_by_guard();
            } else {
                found_by_order();
            }
        }
    }
    impossible_launches();
    modules();
    memory();
    deferred();
    cublas();
    cudnn();
    two_devices();
    faults_as_set();
    check(emulator_live_allocations() == 0, "everything is freed");
    succeeds(cuDevicePrimaryCtxRelease_v2(0));
    printf("%s\n", failures == 0 ? "all checks passed" : "some checks FAILED");
    return failures != 0;
}
