// A test's way to PTX: one instruction for 32 lanes, or the body of an entry.
#pragma once

#include "driver.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

inline int failures = 0;

inline void check(bool ok, const std::string& what, int line = __builtin_LINE()) {
    if (!ok) {
        failures++;
        fprintf(stderr, "FAILED: %s (line %d)\n", what.c_str(), line);
    }
}

inline uint64_t bits(float x) {
    uint32_t b;
    memcpy(&b, &x, 4);
    return b;
}

inline uint64_t bits(double x) {
    uint64_t b;
    memcpy(&b, &x, 8);
    return b;
}

inline float number(uint64_t b) {
    auto low = uint32_t(b);
    float x;
    memcpy(&x, &low, 4);
    return x;
}

struct Memory {
    Address address = 0;
    size_t bytes;

    explicit Memory(size_t size) : bytes(size) { check(cuMemAlloc_v2(&address, size) == 0, "memory"); }
    template <class T> explicit Memory(const std::vector<T>& values) : Memory(values.size() * sizeof(T)) {
        check(cuMemcpyHtoD_v2(address, values.data(), bytes) == 0, "copy");
    }
    ~Memory() { cuMemFree_v2(address); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    template <class T> std::vector<T> read() const {
        std::vector<T> values(bytes / sizeof(T));
        cuMemcpyDtoH_v2(values.data(), address, bytes);
        return values;
    }
};

// An entry `f` with 64-bit parameters f_0, f_1, ... Registers: %r0.. (32 bits), %l0.. (64), %f0.., %d0.., %s0.. (16), %p0..
inline std::string program(const std::string& body, int parameters, const std::string& declared = "") {
    std::string text = ".version 7.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n"
            ".visible .entry f(";
    for (int i = 0; i < parameters; i++) {
        text += std::string(i ? "," : "") + "\n\t.param .u64 f_" + std::to_string(i);
    }
    return text + "\n)\n{\n\t.reg .pred %p<10>;\n\t.reg .b16 %s<20>;\n\t.reg .b32 %r<40>;\n\t.reg .b64 %l<40>;\n\t.reg .f32 %f<20>;\n"
            "\t.reg .f64 %d<20>;\n" + declared + body + "\n\tret;\n}\n";
}

// Code of the first call that fails.
template <class... A> int launch(const std::string& text, unsigned blocks, unsigned threads, unsigned shared, A... arguments) {
    void *module, *function;
    int code = cuModuleLoadData(&module, text.c_str());
    if (code != 0) {
        return code;
    }
    code = cuModuleGetFunction(&function, module, "f");
    void* parameters[] = {&arguments..., nullptr};
    code = code != 0 ? code : cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, nullptr, parameters, nullptr);
    code = code != 0 ? code : cuCtxSynchronize();
    emulator_forget_failure();
    cuModuleUnload(module);
    return code;
}

// What an instruction makes of four numbers a lane, in each lane. Its operands: %ra %rb %rc %rd (32 bits), %la.. (64), %fa.., %da..,
// %sa.. (16 bits), %pa.. (lowest bit); its result is %rx, %lx, %fx, %dx, %sx or %px.
inline std::vector<uint64_t> of_lanes(const std::string& instruction, const std::vector<uint64_t>& lanes) {
    std::string declared, body = "\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n\tld.param.u64 %l1, [f_1];\n"
            "\tmad.wide.u32 %l2, %r0, 32, %l0;\n\tmad.wide.u32 %l3, %r0, 8, %l1;\n";
    for (char c : {'a', 'b', 'c', 'd', 'x'}) {
        std::string n(1, c);
        declared += "\t.reg .b32 %r" + n + ";\n\t.reg .b64 %l" + n + ";\n\t.reg .f32 %f" + n + ";\n\t.reg .f64 %d" + n
                + ";\n\t.reg .b16 %s" + n + ";\n\t.reg .pred %p" + n + ";\n";
        if (c != 'x') {
            body += "\tld.global.u64 %l" + n + ", [%l2+" + std::to_string(8 * (c - 'a')) + "];\n\tcvt.u32.u64 %r" + n + ", %l" + n
                    + ";\n\tcvt.u16.u64 %s" + n + ", %l" + n + ";\n\tmov.b32 %f" + n + ", %r" + n + ";\n\tmov.b64 %d" + n + ", %l" + n
                    + ";\n\tand.b32 %r1, %r" + n + ", 1;\n\tsetp.ne.u32 %p" + n + ", %r1, 0;\n";
        }
    }
    body += "\t" + instruction + "\n";
    char kind = 0;
    for (char c : {'r', 'l', 'f', 'd', 's', 'p'}) {
        kind = instruction.find(std::string("%") + c + "x") != std::string::npos ? c : kind;
    }
    body += kind == 'r' ? "\tcvt.u64.u32 %l4, %rx;\n" : kind == 'f' ? "\tmov.b32 %r2, %fx;\n\tcvt.u64.u32 %l4, %r2;\n"
            : kind == 'd' ? "\tmov.b64 %l4, %dx;\n" : kind == 's' ? "\tcvt.u64.u16 %l4, %sx;\n"
            : kind == 'p' ? "\tselp.b64 %l4, 1, 0, %px;\n" : "\tmov.b64 %l4, %lx;\n";
    body += "\tst.global.u64 [%l3], %l4;";
    Memory in(lanes), out(32 * 8);
    int code = launch(program(body, 2, declared), 1, 32, 0, in.address, out.address);
    check(code == 0, instruction + " answered " + std::to_string(code));
    return out.read<uint64_t>();
}

// The same with one set of numbers for all lanes.
inline uint64_t of(const std::string& instruction, uint64_t a, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
    std::vector<uint64_t> lanes;
    for (int lane = 0; lane < 32; lane++) {
        lanes.insert(lanes.end(), {a, b, c, d});
    }
    std::vector<uint64_t> results = of_lanes(instruction, lanes);
    for (uint64_t result : results) {
        check(result == results[0], instruction + ": lanes differ");
    }
    return results[0];
}
