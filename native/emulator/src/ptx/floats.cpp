// Floating-point arithmetic that rounds to nearest, and what does not round. PTX ISA, "Floating-Point Instructions".
// Other rounding modes are in rounded.cpp, approximations in approximations.cpp.
#include "builder.h"
#include "floats.h"
#include "numbers.h"
#include "warp.h"

namespace emulator::ptx {

namespace {

struct Add { template <class T> static T of(T a, T b) { return a + b; } };
struct Sub { template <class T> static T of(T a, T b) { return a - b; } };
struct Mul { template <class T> static T of(T a, T b) { return a * b; } };
struct Div { template <class T> static T of(T a, T b) { return a / b; } };
struct Fma {
    static float of(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static double of(double a, double b, double c) { return __builtin_fma(a, b, c); }
};
struct Sqrt {
    static float of(float a) { return __builtin_sqrtf(a); }
    static double of(double a) { return __builtin_sqrt(a); }
};
struct Rcp { template <class T> static T of(T a) { return 1 / a; } };
// The number of a pair, if the other is NaN; of two zeros the negative one is less.
struct Min {
    template <class T> static T of(T a, T b) {
        T less = a < b || (a == b && std::signbit(a)) ? a : b;
        return a != a ? b : b != b ? a : less;
    }
};
struct Max {
    template <class T> static T of(T a, T b) {
        T greater = a > b || (a == b && !std::signbit(a)) ? a : b;
        return a != a ? b : b != b ? a : greater;
    }
};
// With .NaN: NaN if one of them is.
template <class F> struct OrNaN {
    template <class T> static T of(T a, T b) { return a != a ? a : b != b ? b : F::of(a, b); }
};
struct Neg { template <class T> static T of(T a) { return -a; } };
struct Abs {
    static float of(float a) { return __builtin_fabsf(a); }
    static double of(double a) { return __builtin_fabs(a); }
};

template <class F, bool FTZ, bool SAT> struct Float32 {
    template <class... A> static float of(A... a) {
        float result = FTZ ? flush(F::of(flush(a)...)) : F::of(a...);
        return SAT ? saturate(result) : canonical(result);
    }
};
template <class F> struct Float64 {
    template <class... A> static double of(A... a) { return canonical(F::of(a...)); }
};

template <size_t, class T> using Same = T;

template <class F, size_t... I> Handlers float32(bool ftz, bool sat, std::index_sequence<I...>) {
    return ftz ? (sat ? lanes<Float32<F, true, true>, float, Same<I, float>...>() : lanes<Float32<F, true, false>, float, Same<I, float>...>())
            : (sat ? lanes<Float32<F, false, true>, float, Same<I, float>...>() : lanes<Float32<F, false, false>, float, Same<I, float>...>());
}

template <class F, size_t... I> Handlers float64(std::index_sequence<I...>) {
    return lanes<Float64<F>, double, Same<I, double>...>();
}

bool is_float(Type type) {
    return type == Type::f32 || type == Type::f64;
}

// d = F(a, ...) of one type, rounded to nearest.
template <class F, size_t SOURCES> void add_float(Builder& builder, Modifiers& modifiers, Pipe pipe = Pipe::float32) {
    bool ftz = modifiers.take("ftz"), sat = modifiers.take("sat");
    Type type = modifiers.type(builder.instruction());
    auto sources = std::make_index_sequence<SOURCES>();
    if (!is_float(type) || (type == Type::f64 && (ftz || sat))) {
        builder.unknown();
    }
    builder.simple(type == Type::f32 ? float32<F>(ftz, sat, sources) : float64<F>(sources),
            type == Type::f64 ? Pipe::float64 : pipe, type, SOURCES);
}

bool of_floats(const Builder& builder) {
    const auto& modifiers = builder.instruction().modifiers;
    return !modifiers.empty() && (modifiers.back() == "f32" || modifiers.back() == "f64");
}

// An opcode that integers and floats share.
template <class F, size_t SOURCES> void share(Opcodes& opcodes, const char* opcode) {
    Family integers = opcodes[opcode];
    opcodes[opcode] = [integers](Builder& builder, Modifiers& modifiers) {
        if (!of_floats(builder)) {
            integers(builder, modifiers);
        } else if (!add_rounded(builder, modifiers)) {
            modifiers.take("rn");
            add_float<F, SOURCES>(builder, modifiers);
        }
    };
}

template <class F> void share_extremum(Opcodes& opcodes, const char* opcode) {
    Family integers = opcodes[opcode];
    opcodes[opcode] = [integers](Builder& builder, Modifiers& modifiers) {
        if (!of_floats(builder)) {
            integers(builder, modifiers);
        } else if (modifiers.take("NaN")) {
            add_float<OrNaN<F>, 2>(builder, modifiers);
        } else {
            add_float<F, 2>(builder, modifiers);
        }
    };
}

// sqrt and rcp: rounded, or approximations.
template <class F, size_t SOURCES> Family exact_or_approximate() {
    return [](Builder& builder, Modifiers& modifiers) {
        if (!add_approximation(builder, modifiers) && !add_rounded(builder, modifiers)) {
            if (!modifiers.take("rn")) {
                builder.unknown();
            }
            add_float<F, SOURCES>(builder, modifiers, Pipe::special);
        }
    };
}

// The value of b with the sign of a.
struct CopySign {
    static float of(float a, float b) { return __builtin_copysignf(b, a); }
    static double of(double a, double b) { return __builtin_copysign(b, a); }
};

void test_property(Builder& builder, Modifiers& modifiers) {
    std::string property = modifiers.take_one({"finite", "infinite", "number", "notanumber"});
    Type type = modifiers.type(builder.instruction());
    if (property.empty() || type != Type::f32) {
        builder.unknown();
    }
    Draft& draft = builder.add(both([](Warp& warp, const Operation& operation) {
        const auto* a = warp.row<float>(operation.at[1]);
        uint32_t result = 0;
        for (unsigned lane = 0; lane < LANES; lane++) {
            float x = std::fabs(a[lane]);
            bool holds = operation.number == 0 ? x <= FLT_MAX : operation.number == 1 ? x > FLT_MAX : operation.number == 2 ? x == x : x != x;
            result |= uint32_t(holds) << lane;
        }
        uint32_t& d = warp.predicate(operation.at[0]);
        d = (d & ~warp.active) | (result & warp.active);
    }), Pipe::float32, {builder.result(builder.operand(0), Type::pred), builder.value(builder.operand(1), type)});
    draft.operation.number = property == "finite" ? 0 : property == "infinite" ? 1 : property == "number" ? 2 : 3;
}

}  // namespace

void add_floats(Opcodes& opcodes) {
    share<Add, 2>(opcodes, "add");
    share<Sub, 2>(opcodes, "sub");
    share<Mul, 2>(opcodes, "mul");
    share<Fma, 3>(opcodes, "mad");
    share<Neg, 1>(opcodes, "neg");
    share<Abs, 1>(opcodes, "abs");
    share_extremum<Min>(opcodes, "min");
    share_extremum<Max>(opcodes, "max");
    opcodes["fma"] = [](Builder& builder, Modifiers& modifiers) {
        if (!add_rounded(builder, modifiers)) {
            if (!modifiers.take("rn")) {
                builder.unknown();
            }
            add_float<Fma, 3>(builder, modifiers);
        }
    };
    Family integers = opcodes["div"], floats = exact_or_approximate<Div, 2>();
    opcodes["div"] = [integers, floats](Builder& builder, Modifiers& modifiers) {
        (of_floats(builder) ? floats : integers)(builder, modifiers);
    };
    opcodes["sqrt"] = exact_or_approximate<Sqrt, 1>();
    opcodes["rcp"] = exact_or_approximate<Rcp, 1>();
    for (const char* opcode : {"ex2", "lg2", "rsqrt", "sin", "cos", "tanh"}) {
        opcodes[opcode] = [](Builder& builder, Modifiers& modifiers) {
            if (!add_approximation(builder, modifiers)) {
                builder.unknown();
            }
        };
    }
    opcodes["copysign"] = [](Builder& builder, Modifiers& modifiers) {
        Type type = modifiers.type(builder.instruction());
        if (!is_float(type)) {
            builder.unknown();
        }
        builder.simple(type == Type::f32 ? lanes<CopySign, float, float, float>() : lanes<CopySign, double, double, double>(),
                Pipe::integer, type, 2);
    };
    opcodes["testp"] = test_property;
}

}  // namespace emulator::ptx
