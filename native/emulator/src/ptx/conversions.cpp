// cvt. Source: PTX ISA, "Data Movement and Conversion Instructions: cvt".
#include "builder.h"
#include "numbers.h"
#include "warp.h"

#include <cfenv>
#include <limits>

namespace emulator::ptx {

namespace {

enum class Round { nearest, zero, down, up };

template <Round ROUND, class F> F to_whole(F x) {
    if constexpr (std::is_same_v<F, float>) {
        return ROUND == Round::nearest ? __builtin_nearbyintf(x) : ROUND == Round::zero ? __builtin_truncf(x)
                : ROUND == Round::down ? __builtin_floorf(x) : __builtin_ceilf(x);
    } else {
        return ROUND == Round::nearest ? __builtin_nearbyint(x) : ROUND == Round::zero ? __builtin_trunc(x)
                : ROUND == Round::down ? __builtin_floor(x) : __builtin_ceil(x);
    }
}

template <class D, class S> struct Truncate { static D of(S a) { return D(a); } };

template <class D, class S> struct Clamp {
    static D of(S a) {
        // holds every value of both types
        __int128 value = a, low = std::numeric_limits<D>::min(), high = std::numeric_limits<D>::max();
        return D(value < low ? low : value > high ? high : value);
    }
};

// Whole numbers out of range become the nearest one in it, NaN becomes zero.
template <class D, class F, Round ROUND, bool FTZ> struct ToInteger {
    static D of(F a) {
        if constexpr (FTZ && std::is_same_v<F, float>) {
            a = flush(a);
        }
        F whole = to_whole<ROUND>(a);
        // the bounds above which and below which nothing fits are powers of two, so that they are exact
        constexpr F low = F(std::numeric_limits<D>::min());
        const F high = F(std::numeric_limits<D>::max() / 2 + 1) * 2;
        bool inside = whole >= low && whole < high;
        D bound = whole >= high ? std::numeric_limits<D>::max() : whole < low ? std::numeric_limits<D>::min() : D(0);
        return inside ? D(inside ? whole : F(0)) : bound;
    }
};

template <class F, class S> struct FromInteger { static F of(S a) { return F(a); } };

template <Round ROUND, class F, bool FTZ, bool SAT> struct ToWhole {
    static F of(F a) {
        if constexpr (std::is_same_v<F, float>) {
            float result = to_whole<ROUND>(FTZ ? flush(a) : a);
            return SAT ? saturate(result) : canonical(result);
        } else {
            return to_whole<ROUND>(a);
        }
    }
};

template <bool FTZ, bool SAT> struct Same32 {
    static float of(float a) {
        float result = FTZ ? flush(a) : a;
        return SAT ? saturate(result) : canonical(result);
    }
};
struct Same64 { static double of(double a) { return a; } };
template <bool FTZ, bool SAT> struct Narrow {
    static float of(double a) { return Same32<FTZ, SAT>::of(float(a)); }
};
template <bool FTZ> struct Widen { static double of(float a) { return double(FTZ ? flush(a) : a); } };

// Conversions between integers and floats that round otherwise than to nearest.
template <class D, class S> __attribute__((noinline)) D convert(S a) {
    return D(a);
}

template <class D, class S> void rounded(Warp& warp, const Operation& operation) {
    auto* d = warp.row<Stored<D>>(operation.at[0]);
    const auto* a = warp.row<Stored<S>>(operation.at[1]);
    fesetround(int(operation.number));
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (warp.is_active(lane)) {
            d[lane] = canonical(convert<D, S>(taken<S>(a[lane])));
        }
    }
    fesetround(FE_TONEAREST);
}

template <class Use> bool with_integer(Type type, Use use) {
    switch (type) {
        case Type::s8: use(int8_t()); return true;
        case Type::u8: use(uint8_t()); return true;
        case Type::s16: use(int16_t()); return true;
        case Type::u16: use(uint16_t()); return true;
        case Type::s32: use(int32_t()); return true;
        case Type::u32: use(uint32_t()); return true;
        case Type::s64: use(int64_t()); return true;
        case Type::u64: use(uint64_t()); return true;
        default: return false;
    }
}

template <class D, class F, bool FTZ> Handlers to_integer(const std::string& rounding) {
    return rounding == "rni" ? lanes<ToInteger<D, F, Round::nearest, FTZ>, D, F>()
            : rounding == "rzi" ? lanes<ToInteger<D, F, Round::zero, FTZ>, D, F>()
            : rounding == "rmi" ? lanes<ToInteger<D, F, Round::down, FTZ>, D, F>()
            : lanes<ToInteger<D, F, Round::up, FTZ>, D, F>();
}

template <class F, bool FTZ, bool SAT> Handlers to_whole(const std::string& rounding) {
    return rounding == "rni" ? lanes<ToWhole<Round::nearest, F, FTZ, SAT>, F, F>()
            : rounding == "rzi" ? lanes<ToWhole<Round::zero, F, FTZ, SAT>, F, F>()
            : rounding == "rmi" ? lanes<ToWhole<Round::down, F, FTZ, SAT>, F, F>()
            : lanes<ToWhole<Round::up, F, FTZ, SAT>, F, F>();
}

template <template <bool, bool> class F, class D, class S> Handlers with_flags(bool ftz, bool sat) {
    return ftz ? (sat ? lanes<F<true, true>, D, S>() : lanes<F<true, false>, D, S>())
            : (sat ? lanes<F<false, true>, D, S>() : lanes<F<false, false>, D, S>());
}

int environment(const std::string& rounding) {
    return rounding == "rz" ? FE_TOWARDZERO : rounding == "rm" ? FE_DOWNWARD : rounding == "rp" ? FE_UPWARD : FE_TONEAREST;
}

bool is_float(Type type) {
    return type == Type::f32 || type == Type::f64;
}

// A register that is wider than an integer type holds the number extended: the type it is then.
Type as_wide_as(const Builder& builder, const Operand& operand, Type type) {
    Type own;
    if (is_float(type) || !builder.declared(operand, own) || bytes_of(own) <= bytes_of(type)) {
        return type;
    }
    bool negative = type == Type::s8 || type == Type::s16 || type == Type::s32;
    return bytes_of(own) == 8 ? (negative ? Type::s64 : Type::u64) : (negative ? Type::s32 : Type::u32);
}

template <class F, class S, class Extended> struct Extend { static Extended of(S a) { return Extended(F::of(a)); } };

// The number that is converted: of a register that is wider than its type the lowest bits.
Value source(Builder& builder, Type type) {
    const Operand& operand = builder.operand(1);
    Type own;
    if (!builder.declared(operand, own) || bytes_of(own) < 8 || bytes_of(type) == 8) {
        return builder.value(operand, type);
    }
    Value low = builder.unused(Type::u32);
    builder.add(lanes<Truncate<uint32_t, uint64_t>, uint32_t, uint64_t>(), Pipe::move, {low, builder.value(operand, Type::u64)});
    return low;
}

void add_conversion(Builder& builder, Modifiers& modifiers) {
    std::string whole = modifiers.take_one({"rni", "rzi", "rmi", "rpi"}), rounding = modifiers.take_one({"rn", "rz", "rm", "rp"});
    bool ftz = modifiers.take("ftz"), sat = modifiers.take("sat");
    Type to = modifiers.type(builder.instruction()), from = modifiers.type(builder.instruction());
    Handlers run{};
    Pipe pipe = Pipe::conversion;
    if (is_float(to) && is_float(from)) {
        if (!whole.empty()) {
            if (to != from || (to == Type::f64 && (ftz || sat))) builder.unknown();
            run = to == Type::f64 ? to_whole<double, false, false>(whole)
                    : ftz ? (sat ? to_whole<float, true, true>(whole) : to_whole<float, true, false>(whole))
                    : (sat ? to_whole<float, false, true>(whole) : to_whole<float, false, false>(whole));
        } else if (to == from) {
            run = to == Type::f64 ? lanes<Same64, double, double>() : with_flags<Same32, float, float>(ftz, sat);
        } else if (to == Type::f64) {
            run = ftz ? lanes<Widen<true>, double, float>() : lanes<Widen<false>, double, float>();
        } else if (rounding == "rn") {
            run = with_flags<Narrow, float, double>(ftz, sat);
        } else if (!rounding.empty() && !ftz && !sat) {
            run = both(rounded<float, double>);
        }
    } else if (is_float(from)) {
        if (whole.empty()) builder.unknown();
        with_integer(to, [&](auto of) {
            using D = decltype(of);
            run = from == Type::f64 ? to_integer<D, double, false>(whole)
                    : ftz ? to_integer<D, float, true>(whole) : to_integer<D, float, false>(whole);
        });
    } else if (is_float(to)) {
        if (rounding.empty() || ftz || sat) builder.unknown();
        with_integer(from, [&](auto of) {
            using S = decltype(of);
            run = rounding != "rn" ? both(to == Type::f32 ? rounded<float, S> : rounded<double, S>)
                    : to == Type::f32 ? lanes<FromInteger<float, S>, float, S>() : lanes<FromInteger<double, S>, double, S>();
        });
    } else {
        if (!whole.empty() || !rounding.empty()) builder.unknown();
        Type stored = as_wide_as(builder, builder.operand(0), to);
        pipe = Pipe::integer;
        with_integer(from, [&](auto source) {
            using S = decltype(source);
            with_integer(to, [&](auto target) {
                using D = decltype(target);
                using Word = std::conditional_t<std::is_signed_v<D>, int32_t, uint32_t>;
                using Wide = std::conditional_t<std::is_signed_v<D>, int64_t, uint64_t>;
                if (stored == to) {
                    run = sat ? lanes<Clamp<D, S>, D, S>() : lanes<Truncate<D, S>, D, S>();
                } else if (bytes_of(stored) == 8) {
                    run = sat ? lanes<Extend<Clamp<D, S>, S, Wide>, Wide, S>() : lanes<Extend<Truncate<D, S>, S, Wide>, Wide, S>();
                } else {
                    run = sat ? lanes<Extend<Clamp<D, S>, S, Word>, Word, S>() : lanes<Extend<Truncate<D, S>, S, Word>, Word, S>();
                }
            });
        });
        to = stored;
    }
    if (run.full == nullptr || builder.operands() != 2) {
        builder.unknown();
    }
    Draft& draft = builder.add(run, pipe, {builder.result(builder.operand(0), to), source(builder, from)});
    draft.operation.number = environment(rounding);
}

}  // namespace

void add_conversions(Opcodes& opcodes) {
    opcodes["cvt"] = add_conversion;
}

}  // namespace emulator::ptx
