// What executes PTX, tried instruction by instruction against what the PTX ISA says, above all where x86 does otherwise.
#include "ptx_program.h"
#include "ptx_tests.h"

#include <cfloat>
#include <cmath>
#include <limits>

namespace {

constexpr uint64_t NAN32 = 0x7fffffff, INF32 = 0x7f800000, MINUS = 0x80000000;
constexpr uint64_t X86_NAN = 0xffc00000, PAYLOAD = 0x7fc12345;
const float INF = std::numeric_limits<float>::infinity();

void is(const std::string& instruction, uint64_t expected, uint64_t a, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
        int line = __builtin_LINE()) {
    uint64_t found = of(instruction, a, b, c, d);
    char text[200];
    snprintf(text, sizeof text, "%s gave 0x%llx, not 0x%llx", instruction.c_str(), (unsigned long long) found,
            (unsigned long long) expected);
    check(found == expected, text, line);
}

void nan_is_canonical() {
    is("add.rn.f32 %fx, %fa, %fb;", NAN32, PAYLOAD, bits(1.0f));
    is("add.f32 %fx, %fa, %fb;", NAN32, INF32, INF32 | MINUS);
    is("mul.rn.f32 %fx, %fa, %fb;", NAN32, INF32, 0);
    is("fma.rn.f32 %fx, %fa, %fb, %fc;", NAN32, X86_NAN, bits(1.0f), bits(1.0f));
    is("div.rn.f32 %fx, %fa, %fb;", NAN32, 0, 0);
    is("sqrt.rn.f32 %fx, %fa;", NAN32, bits(-1.0f));
    is("neg.f32 %fx, %fa;", NAN32, PAYLOAD);
    is("abs.f32 %fx, %fa;", NAN32, X86_NAN);
    is("cvt.rn.f32.f64 %fx, %da;", NAN32, 0x7ff8000000001234);
    is("cvt.rni.f32.f32 %fx, %fa;", NAN32, PAYLOAD);
    is("ex2.approx.ftz.f32 %fx, %fa;", NAN32, PAYLOAD);
    is("mov.b32 %fx, %fa;", PAYLOAD, PAYLOAD);
    is("selp.f32 %fx, %fa, %fb, %pc;", PAYLOAD, PAYLOAD, 0, 1);
    is("add.rn.f64 %dx, %da, %db;", 0x7ff8000000001234, 0x7ff8000000001234, bits(1.0));
}

void extrema() {
    is("min.f32 %fx, %fa, %fb;", bits(1.0f), PAYLOAD, bits(1.0f));
    is("max.f32 %fx, %fa, %fb;", bits(1.0f), bits(1.0f), PAYLOAD);
    is("max.f32 %fx, %fa, %fb;", NAN32, PAYLOAD, X86_NAN);
    is("max.NaN.f32 %fx, %fa, %fb;", NAN32, bits(1.0f), PAYLOAD);
    is("min.f32 %fx, %fa, %fb;", MINUS, 0, MINUS);
    is("max.f32 %fx, %fa, %fb;", 0, MINUS, 0);
    is("min.s32 %rx, %ra, %rb;", 0x80000000, 0x80000000, 5);
    is("max.u32 %rx, %ra, %rb;", 0x80000000, 0x80000000, 5);
    is("min.s64 %lx, %la, %lb;", ~uint64_t(0), ~uint64_t(0), 5);
    is("max.f64 %dx, %da, %db;", bits(2.0), 0x7ff8000000000000, bits(2.0));
}

void comparisons() {
    for (const char* ordered : {"eq", "ne", "lt", "le", "gt", "ge", "num"}) {
        is(std::string("setp.") + ordered + ".f32 %px, %fa, %fb;", 0, PAYLOAD, bits(1.0f));
    }
    for (const char* unordered : {"equ", "neu", "ltu", "leu", "gtu", "geu", "nan"}) {
        is(std::string("setp.") + unordered + ".f32 %px, %fa, %fb;", 1, bits(1.0f), PAYLOAD);
    }
    is("setp.eq.f32 %px, %fa, %fb;", 1, 0, MINUS);
    is("setp.ne.f32 %px, %fa, %fb;", 1, bits(1.0f), bits(2.0f));
    is("setp.lt.ftz.f32 %px, %fa, %fb;", 0, 0, 1);
    is("setp.lt.f32 %px, %fa, %fb;", 1, 0, 1);
    is("setp.lt.s32 %px, %ra, %rb;", 1, 0xffffffff, 1);
    is("setp.lt.u32 %px, %ra, %rb;", 0, 0xffffffff, 1);
    is("setp.hi.u32 %px, %ra, %rb;", 1, 0xffffffff, 1);
    is("setp.le.u64 %px, %la, %lb;", 0, ~uint64_t(0), 5);
    is("setp.eq.b64 %px, %la, %lb;", 0, 1ull << 32, 0);
    is("setp.lt.and.s32 %px, %ra, %rb, %pc;", 0, 1, 2, 0);
    is("setp.lt.and.s32 %px, %ra, %rb, !%pc;", 1, 1, 2, 0);
    is("setp.lt.or.s32 %p0|%px, %ra, %rb, %pc;", 1, 1, 2, 1);
    is("setp.lt.s32 %p0|%px, %ra, %rb;", 0, 1, 2);
    is("testp.infinite.f32 %px, %fa;", 1, INF32 | MINUS);
    is("testp.notanumber.f32 %px, %fa;", 1, PAYLOAD);
}

void integers() {
    is("shl.b32 %rx, %ra, %rb;", 0, 1, 32);
    is("shl.b32 %rx, %ra, %rb;", 0x80000000, 1, 31);
    is("shr.s32 %rx, %ra, %rb;", 0xffffffff, 0x80000000, 100);
    is("shr.u32 %rx, %ra, %rb;", 0, 0x80000000, 33);
    is("shl.b64 %lx, %la, %rb;", 0, 1, 64);
    is("shr.s64 %lx, %la, %rb;", ~uint64_t(0), 1ull << 63, 0xffffffff);
    is("shr.u16 %sx, %sa, %rb;", 0x7fff, 0xffff, 1);
    is("shr.s16 %sx, %sa, %rb;", 0xffff, 0xffff, 1);
    is("mul.hi.s32 %rx, %ra, %rb;", 0xffffffff, 0xffffffff, 5);
    is("mul.hi.u64 %lx, %la, %lb;", 4, ~uint64_t(0), 5);
    is("mul.wide.s32 %lx, %ra, %rb;", ~uint64_t(4), 0xffffffff, 5);
    is("mul.wide.u16 %rx, %sa, %sb;", 0xfffe0001, 0xffff, 0xffff);
    is("mad.lo.s32 %rx, %ra, %rb, %rc;", 0x80000000, 0x7fffffff, 1, 1);
    is("mad.wide.s32 %lx, %ra, %rb, %lc;", ~uint64_t(0), 0xffffffff, 1, 0);
    is("div.s32 %rx, %ra, %rb;", 0x80000000, 0x80000000, 0xffffffff);
    is("rem.s32 %rx, %ra, %rb;", 0xffffffff, uint32_t(-7), 2);
    is("div.s64 %lx, %la, %lb;", uint64_t(-3), uint64_t(-7), 2);
    is("div.s64 %lx, %la, %lb;", 1ull << 63, 1ull << 63, ~uint64_t(0));
    is("rem.s64 %lx, %la, %lb;", uint64_t(-1), uint64_t(-7), 2);
    is("div.u64 %lx, %la, %lb;", ~uint64_t(0) / 3, ~uint64_t(0), 3);
    is("abs.s32 %rx, %ra;", 0x80000000, 0x80000000);
    is("neg.s64 %lx, %la;", ~uint64_t(0), 1);
    is("sub.s16 %sx, %sa, %sb;", 0x8000, 0x7fff, 0xffff);
    is("not.b16 %sx, %sa;", 0xff00, 0x00ff);
    is("xor.b32 %rx, %ra, %rb;", 6, 5, 3);
    is("popc.b64 %rx, %la;", 64, ~uint64_t(0));
    is("clz.b32 %rx, %ra;", 32, 0);
    is("brev.b32 %rx, %ra;", 0x80000000, 1);
    is("bfe.u32 %rx, %ra, 4, 8;", 0x56, 0x1234a56b);
    is("bfe.s32 %rx, %ra, 28, 8;", 0xffffffff, 0xf0000000);
    is("bfe.u32 %rx, %ra, 40, 8;", 0, 0xffffffff);
    is("bfi.b32 %rx, %ra, %rb, 8, 4;", 0xfffff5ff, 5, 0xffffffff);
    is("bfi.b32 %rx, %ra, %rb, 30, 8;", 0x7fffffff, 1, 0xffffffff);
    is("prmt.b32 %rx, %ra, %rb, 0x7250;", 0x88225544, 0x11223344, 0x88775566);
    is("prmt.b32 %rx, %ra, %rb, 0x000b;", 0x444444ff, 0x91223344, 0);
    is("lop3.b32 %rx, %ra, %rb, %rc, 0xe8;", 0xe8, 0xf0, 0xcc, 0xaa);
    is("shf.l.wrap.b32 %rx, %ra, %rb, %rc;", 0x3, 0x80000000, 1, 33);
    is("shf.r.clamp.b32 %rx, %ra, %rb, %rc;", 0x1, 0x80000000, 1, 50);
    is("dp4a.s32.s32 %rx, %ra, %rb, %rc;", uint32_t(-128 * -128 + 127 * -2 - 1 * 3 + 2), 0x01ff7f80, 0x0203fe80, 0);
    is("dp4a.u32.s32 %rx, %ra, %rb, %rc;", uint32_t(-255), 0xff, 0xff, 0);
}

void conversions() {
    is("cvt.rzi.s32.f32 %rx, %fa;", 0, PAYLOAD);
    is("cvt.rni.s32.f32 %rx, %fa;", 0x7fffffff, bits(3e9f));
    is("cvt.rzi.s32.f32 %rx, %fa;", 0x80000000, INF32 | MINUS);
    is("cvt.rzi.u32.f32 %rx, %fa;", 0, bits(-5.0f));
    is("cvt.rni.s32.f32 %rx, %fa;", 2, bits(2.5f));
    is("cvt.rmi.s32.f32 %rx, %fa;", uint32_t(-3), bits(-2.5f));
    is("cvt.rpi.s32.f32 %rx, %fa;", uint32_t(-2), bits(-2.5f));
    is("cvt.rni.s64.f64 %lx, %da;", 0x7fffffffffffffff, bits(1e19));
    is("cvt.rzi.u64.f32 %lx, %fa;", ~uint64_t(0), bits(2e19f));
    is("cvt.rzi.s8.f32 %rx, %fa;", 127, bits(300.0f));
    is("cvt.rn.f32.s32 %fx, %ra;", bits(16777216.0f), 16777217);
    is("cvt.rp.f32.s32 %fx, %ra;", bits(16777218.0f), 16777217);
    is("cvt.rn.f32.u64 %fx, %la;", bits(18446744073709551616.0f), ~uint64_t(0));
    is("cvt.rn.f64.s64 %dx, %la;", bits(-1.0), ~uint64_t(0));
    is("cvt.rz.f32.f64 %fx, %da;", bits(1.0f), bits(1.00000005));
    is("cvt.f64.f32 %dx, %fa;", bits(0.1f * 1.0), bits(0.1f));
    is("cvt.sat.f32.f32 %fx, %fa;", 0, PAYLOAD);
    is("cvt.sat.f32.f32 %fx, %fa;", bits(1.0f), bits(7.0f));
    is("cvt.ftz.f64.f32 %dx, %fa;", 0, 1);
    is("cvt.s16.s8 %sx, %sa;", 0xff80, 0x0180);
    is("cvt.u32.u8 %rx, %ra;", 0x80, 0x180);
    is("cvt.s64.s32 %lx, %ra;", 0xffffffff80000000, 0x80000000);
    is("cvt.s64.s32 %lx, %la;", 0xffffffff80000000, 0x1280000000);
    is("cvt.u64.u32 %lx, %ra;", 0x80000000, 0x80000000);
    is("cvt.sat.s8.s32 %rx, %ra;", 0xffffff80, uint32_t(-300));
    is("cvt.sat.u8.s32 %rx, %ra;", 0, uint32_t(-300));
}

void rounding() {
    float third = 1.0f / 3, up = std::nextafter(1.0f, 2.0f);
    is("fma.rn.f32 %fx, %fa, %fb, %fc;", bits(std::fma(third, third, up)), bits(third), bits(third), bits(up));
    is("fma.rm.f32 %fx, %fa, %fb, %fc;", bits(1.0f), bits(1e-10f), bits(1e-10f), bits(1.0f));
    is("fma.rp.f32 %fx, %fa, %fb, %fc;", bits(up), bits(1e-10f), bits(1e-10f), bits(1.0f));
    is("add.rz.f32 %fx, %fa, %fb;", bits(1.0f), bits(1.0f), bits(1.1e-7f));
    is("add.rp.f32 %fx, %fa, %fb;", bits(up), bits(1.0f), bits(1e-20f));
    is("div.rm.f64 %dx, %da, %db;", bits(0.3333333333333333), bits(1.0), bits(3.0));
    is("div.rp.f64 %dx, %da, %db;", bits(0.33333333333333337), bits(1.0), bits(3.0));
    is("mul.ftz.f32 %fx, %fa, %fb;", MINUS, bits(1e-30f), bits(-1e-15f));
    is("mul.rn.f32 %fx, %fa, %fb;", bits(1e-30f * 1e-15f), bits(1e-30f), bits(1e-15f));
    is("add.sat.f32 %fx, %fa, %fb;", 0, PAYLOAD, 0);
    is("add.sat.f32 %fx, %fa, %fb;", bits(1.0f), bits(3.0f), 0);
    is("rcp.rn.f32 %fx, %fa;", bits(1 / 3.0f), bits(3.0f));
    is("copysign.f32 %fx, %fa, %fb;", bits(3.0f) | MINUS, bits(-1.0f), bits(3.0f));
}

void approximations() {
    struct Case {
        const char *instruction, *opcode;
        double (*exact)(double);
        double relative, absolute;
    };
    const Case cases[] = {{"ex2.approx.ftz.f32 %fx, %fa;", "ex2", [](double a) { return std::exp2(a); }, 0x1p-22, 0},
            {"lg2.approx.f32 %fx, %fa;", "lg2", [](double a) { return std::log2(a); }, 0, 0x1p-22},
            {"rcp.approx.f32 %fx, %fa;", "rcp", [](double a) { return 1 / a; }, 0x1p-23, 0},
            {"rsqrt.approx.f32 %fx, %fa;", "rsqrt", [](double a) { return 1 / std::sqrt(a); }, 0x1p-22, 0},
            {"tanh.approx.f32 %fx, %fa;", "tanh", [](double a) { return std::tanh(a); }, 0x1p-11, 0}};
    for (const Case& each : cases) {
        std::vector<uint64_t> lanes;
        for (int lane = 0; lane < 32; lane++) {
            lanes.insert(lanes.end(), {bits(0.37f + 0.211f * float(lane)), 0, 0, 0});
        }
        std::vector<std::vector<uint64_t>> answers;
        for (long seed : {1, 2}) {
            emulator_set("seed", seed);
            answers.push_back(of_lanes(each.instruction, lanes));
            for (size_t lane = 0; lane < 32; lane++) {
                double exact = each.exact(number(lanes[4 * lane])), error = std::fabs(double(number(answers.back()[lane])) - exact);
                // and the rounding of what is answered
                check(error <= std::fabs(exact) * (each.relative + 0x1p-24) + each.absolute, std::string(each.opcode) + " is too far off");
            }
        }
        check(answers[0] != answers[1], std::string(each.opcode) + " answers otherwise with another seed");
    }
    emulator_restore_settings();
    is("ex2.approx.ftz.f32 %fx, %fa;", bits(8.0f), bits(3.0f));
    is("ex2.approx.ftz.f32 %fx, %fa;", 0, bits(-200.0f));
    is("ex2.approx.ftz.f32 %fx, %fa;", bits(INF), bits(200.0f));
}

void moves() {
    is("mov.b64 %lx, {%ra, %rb};", 0x500000003, 3, 5);
    is("mov.b64 {%r5, %rx}, %la;", 5, 0x500000003);
    is("mov.b32 {%s5, %sx}, %ra;", 5, 0x50003);
    is("mov.pred %px, 0;", 0, 1);
    is("not.pred %px, %pa;", 1, 0);
    is("xor.pred %px, %pa, %pb;", 1, 0, 1);
    is("{ .reg .b32 %r99; mov.b32 %r99, %ra; mov.b32 %rx, %r99; }", 7, 7);
    is("@%pa mov.b32 %rx, 1;\n@!%pa mov.b32 %rx, 2;", 2, 0);
}

}  // namespace

int main() {
    void* context;
    check(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxSetCurrent(context) == 0, "a device");
    nan_is_canonical();
    extrema();
    comparisons();
    integers();
    conversions();
    rounding();
    approximations();
    moves();
    warps();
    memory_of_blocks();
    faults();
    check(emulator_live_allocations() == 0, "everything is freed");
    printf("%s\n", failures == 0 ? "all checks of PTX passed" : "some checks of PTX FAILED");
    return failures != 0;
}
