// setp and selp. Source: PTX ISA, "Comparison and Selection Instructions".
#include "builder.h"
#include "numbers.h"
#include "warp.h"

namespace emulator::ptx {

namespace {

struct Eq { template <class T> static bool of(T a, T b) { return a == b; } };
struct Ne { template <class T> static bool of(T a, T b) { return a < b || a > b; } };
struct Lt { template <class T> static bool of(T a, T b) { return a < b; } };
struct Le { template <class T> static bool of(T a, T b) { return a <= b; } };
struct Gt { template <class T> static bool of(T a, T b) { return a > b; } };
struct Ge { template <class T> static bool of(T a, T b) { return a >= b; } };
struct Num { template <class T> static bool of(T a, T b) { return a == a && b == b; } };
struct Nan { template <class T> static bool of(T a, T b) { return a != a || b != b; } };
// True also if one of the two is NaN.
template <class F> struct Unordered { template <class T> static bool of(T a, T b) { return Nan::of(a, b) || F::of(a, b); } };

enum class Combine : int { none, with_and, with_or, with_xor };

constexpr int FTZ = 4, SECOND = 8;

template <class F, class T> void compare(Warp& warp, const Operation& operation) {
    const auto *a = warp.row<Stored<T>>(operation.at[2]), *b = warp.row<Stored<T>>(operation.at[3]);
    uint32_t result = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        if constexpr (std::is_same_v<T, float>) {
            bool ftz = operation.number & FTZ;
            result |= uint32_t(ftz ? F::of(flush(a[lane]), flush(b[lane])) : F::of(a[lane], b[lane])) << lane;
        } else {
            result |= uint32_t(F::of(taken<T>(a[lane]), taken<T>(b[lane]))) << lane;
        }
    }
    uint32_t opposite = ~result, with = warp.predicate(operation.at[4]);
    switch (Combine(operation.number & 3)) {
        case Combine::none: break;
        case Combine::with_and: result &= with; opposite &= with; break;
        case Combine::with_or: result |= with; opposite |= with; break;
        case Combine::with_xor: result ^= with; opposite ^= with; break;
    }
    uint32_t &p = warp.predicate(operation.at[0]), active = warp.active;
    if (operation.number & SECOND) {
        uint32_t& q = warp.predicate(operation.at[1]);
        q = (q & ~active) | (opposite & active);
    }
    p = (p & ~active) | (result & active);
}

template <class F> Handler for_float(Type type) {
    return type == Type::f32 ? compare<F, float> : type == Type::f64 ? compare<F, double> : nullptr;
}

template <class F> Handler for_signed(Type type) {
    switch (type) {
        case Type::s16: return compare<F, int16_t>;
        case Type::u16: return compare<F, uint16_t>;
        case Type::s32: return compare<F, int32_t>;
        case Type::u32: return compare<F, uint32_t>;
        case Type::s64: return compare<F, int64_t>;
        case Type::u64: return compare<F, uint64_t>;
        default: return for_float<F>(type);
    }
}

template <class F> Handler for_bits(Type type) {
    Type as = type == Type::b16 ? Type::u16 : type == Type::b32 ? Type::u32 : type == Type::b64 ? Type::u64 : type;
    return for_signed<F>(as);
}

template <class F> Handler for_unsigned(Type type) {
    return type == Type::u16 || type == Type::u32 || type == Type::u64 ? for_signed<F>(type) : nullptr;
}

Handler comparison(const std::string& name, Type type) {
    if (name == "eq") return for_bits<Eq>(type);
    if (name == "ne") return for_bits<Ne>(type);
    if (name == "lt") return for_signed<Lt>(type);
    if (name == "le") return for_signed<Le>(type);
    if (name == "gt") return for_signed<Gt>(type);
    if (name == "ge") return for_signed<Ge>(type);
    if (name == "lo") return for_unsigned<Lt>(type);
    if (name == "ls") return for_unsigned<Le>(type);
    if (name == "hi") return for_unsigned<Gt>(type);
    if (name == "hs") return for_unsigned<Ge>(type);
    if (name == "equ") return for_float<Unordered<Eq>>(type);
    if (name == "neu") return for_float<Unordered<Ne>>(type);
    if (name == "ltu") return for_float<Unordered<Lt>>(type);
    if (name == "leu") return for_float<Unordered<Le>>(type);
    if (name == "gtu") return for_float<Unordered<Gt>>(type);
    if (name == "geu") return for_float<Unordered<Ge>>(type);
    if (name == "num") return for_float<Num>(type);
    if (name == "nan") return for_float<Nan>(type);
    return nullptr;
}

void set_predicate(Builder& builder, Modifiers& modifiers) {
    std::string name = modifiers.take_one({"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu",
            "gtu", "geu", "num", "nan"});
    std::string combined = modifiers.take_one({"and", "or", "xor"});
    bool ftz = modifiers.take("ftz");
    Type type = modifiers.type(builder.instruction());
    Handler run = comparison(name, type);
    if (run == nullptr || (ftz && type != Type::f32) || builder.operands() != (combined.empty() ? 3u : 4u)) {
        builder.unknown();
    }
    const Operand& to = builder.operand(0);
    bool pair = to.kind == Operand::list;
    Value p = builder.result(pair ? to.parts[0] : to, Type::pred);
    Value q = pair ? builder.result(to.parts[1], Type::pred) : builder.unused(Type::pred);
    Value with = combined.empty() ? builder.constant(0, Type::pred) : builder.predicate(builder.operand(3));
    Draft& draft = builder.add(both(run), type == Type::f32 ? Pipe::float32 : type == Type::f64 ? Pipe::float64 : Pipe::integer,
            {p, q, builder.value(builder.operand(1), type), builder.value(builder.operand(2), type), with}, 2);
    Combine how = combined == "and" ? Combine::with_and : combined == "or" ? Combine::with_or
            : combined == "xor" ? Combine::with_xor : Combine::none;
    draft.operation.number = int(how) | (ftz ? FTZ : 0) | (pair ? SECOND : 0);
}

template <class T> void select(Warp& warp, const Operation& operation) {
    auto *d = warp.row<T>(operation.at[0]), *a = warp.row<T>(operation.at[1]), *b = warp.row<T>(operation.at[2]);
    const uint32_t first = warp.predicate(operation.at[3]), active = warp.active;
#pragma GCC ivdep
    for (unsigned lane = 0; lane < LANES; lane++) {
        T chosen = first >> lane & 1 ? a[lane] : b[lane];
        d[lane] = active >> lane & 1 ? chosen : d[lane];
    }
}

}  // namespace

void add_comparisons(Opcodes& opcodes) {
    opcodes["setp"] = set_predicate;
    opcodes["selp"] = [](Builder& builder, Modifiers& modifiers) {
        Type type = modifiers.type(builder.instruction());
        if (type == Type::pred || bytes_of(type) == 1 || builder.operands() != 4) {
            builder.unknown();
        }
        Value chosen = builder.predicate(builder.operand(3));
        builder.add(both(bytes_of(type) == 8 ? select<uint64_t> : select<uint32_t>), Pipe::integer,
                {builder.result(builder.operand(0), type), builder.value(builder.operand(1), type),
                        builder.value(builder.operand(2), type), chosen});
    };
}

}  // namespace emulator::ptx
