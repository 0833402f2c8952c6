// Arithmetic in the other rounding modes, lane by lane. Compiled with -frounding-math.
#include "floats.h"
#include "numbers.h"
#include "warp.h"

#include <cfenv>

namespace emulator::ptx {

namespace {

enum Arithmetic { ADD, SUB, MUL, DIV, FMA, SQRT, RCP };
const std::pair<const char*, Arithmetic> NAMES[] = {{"add", ADD}, {"sub", SUB}, {"mul", MUL}, {"div", DIV}, {"fma", FMA},
        {"mad", FMA}, {"sqrt", SQRT}, {"rcp", RCP}};

struct Mode {
    Arithmetic what;
    int rounding;
    bool ftz, sat;

    int64_t packed() const { return what | rounding << 4 | ftz << 20 | sat << 21; }
    static Mode unpacked(int64_t number) {
        return {Arithmetic(number & 15), int(number >> 4 & 0xffff), (number >> 20 & 1) != 0, (number >> 21 & 1) != 0};
    }
};

template <class T> __attribute__((noinline)) T compute(Arithmetic what, T a, T b, T c) {
    switch (what) {
        case ADD: return a + b;
        case SUB: return a - b;
        case MUL: return a * b;
        case DIV: return a / b;
        case FMA: return std::fma(a, b, c);
        case SQRT: return std::sqrt(a);
        case RCP: return 1 / a;
    }
    return a;
}

float finish(float x, const Mode& mode) {
    x = mode.ftz ? flush(x) : x;
    return mode.sat ? saturate(x) : canonical(x);
}

double finish(double x, const Mode&) {
    return canonical(x);
}

template <class T> void rounded(Warp& warp, const Operation& operation) {
    Mode mode = Mode::unpacked(operation.number);
    unsigned sources = mode.what == FMA ? 3 : mode.what >= SQRT ? 1 : 2;
    T* d = warp.row<T>(operation.at[0]);
    fesetround(mode.rounding);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (warp.is_active(lane)) {
            T in[3] = {};
            for (unsigned i = 0; i < sources; i++) {
                in[i] = warp.row<T>(operation.at[1 + i])[lane];
                in[i] = mode.ftz ? T(flush(float(in[i]))) : in[i];
            }
            d[lane] = finish(compute(mode.what, in[0], in[1], in[2]), mode);
        }
    }
    fesetround(FE_TONEAREST);
}

}  // namespace

bool add_rounded(Builder& builder, Modifiers& modifiers) {
    std::string rounding = modifiers.take_one({"rz", "rm", "rp"});
    if (rounding.empty()) {
        return false;
    }
    Mode mode{ADD, rounding == "rz" ? FE_TOWARDZERO : rounding == "rm" ? FE_DOWNWARD : FE_UPWARD, modifiers.take("ftz"),
            modifiers.take("sat")};
    Type type = modifiers.type(builder.instruction());
    bool known = (type == Type::f32 || type == Type::f64) && !(type == Type::f64 && (mode.ftz || mode.sat));
    bool named = false;
    for (const auto& name : NAMES) {
        if (builder.instruction().opcode == name.first) {
            mode.what = name.second;
            named = true;
        }
    }
    if (!known || !named) {
        builder.unknown();
    }
    size_t sources = mode.what == FMA ? 3 : mode.what >= SQRT ? 1 : 2;
    Draft& draft = builder.simple(both(type == Type::f32 ? rounded<float> : rounded<double>),
            type == Type::f32 ? Pipe::float32 : Pipe::float64, type, sources);
    draft.operation.number = mode.packed();
    return true;
}

}  // namespace emulator::ptx
