// Integer arithmetic, bits and predicates. PTX ISA, "Integer Arithmetic Instructions" and "Logic and Shift Instructions".
#include "builder.h"
#include "warp.h"

#include <limits>

namespace emulator::ptx {

namespace {

template <class T> using Unsigned = std::make_unsigned_t<T>;
template <class T> using Wide = std::conditional_t<std::is_signed_v<T>, std::conditional_t<sizeof(T) == 2, int32_t,
        std::conditional_t<sizeof(T) == 4, int64_t, __int128>>, std::conditional_t<sizeof(T) == 2, uint32_t,
        std::conditional_t<sizeof(T) == 4, uint64_t, unsigned __int128>>>;
template <class T> constexpr unsigned BITS = 8 * sizeof(T);

// Sums and products wrap around.
template <class T> struct Add { static T of(T a, T b) { return T(Unsigned<T>(a) + Unsigned<T>(b)); } };
template <class T> struct Sub { static T of(T a, T b) { return T(Unsigned<T>(a) - Unsigned<T>(b)); } };
template <class T> struct MulLow { static T of(T a, T b) { return T(uint64_t(a) * uint64_t(b)); } };
template <class T> struct MulHigh { static T of(T a, T b) { return T(Wide<T>(a) * Wide<T>(b) >> BITS<T>); } };
template <class T> struct MulWide { static Wide<T> of(T a, T b) { return Wide<T>(a) * Wide<T>(b); } };
template <class T> struct MadLow { static T of(T a, T b, T c) { return Add<T>::of(MulLow<T>::of(a, b), c); } };
template <class T> struct MadHigh { static T of(T a, T b, T c) { return Add<T>::of(MulHigh<T>::of(a, b), c); } };
template <class T> struct MadWide { static Wide<T> of(T a, T b, Wide<T> c) { return Add<Wide<T>>::of(MulWide<T>::of(a, b), c); } };
// A division by zero gives no defined value.
template <class T> struct Div {
    static T of(T a, T b) { return b == 0 ? T(-1) : std::is_signed_v<T> && b == T(-1) ? Sub<T>::of(0, a) : T(a / b); }
};
template <class T> struct Rem {
    static T of(T a, T b) { return b == 0 ? T(-1) : std::is_signed_v<T> && b == T(-1) ? T(0) : T(a % b); }
};
template <class T> struct Min { static T of(T a, T b) { return b < a ? b : a; } };
template <class T> struct Max { static T of(T a, T b) { return a < b ? b : a; } };
template <class T> struct Neg { static T of(T a) { return Sub<T>::of(0, a); } };
template <class T> struct Abs { static T of(T a) { return std::is_signed_v<T> && a < T(0) ? Sub<T>::of(0, a) : a; } };
template <class T> struct And { static T of(T a, T b) { return T(a & b); } };
template <class T> struct Or { static T of(T a, T b) { return T(a | b); } };
template <class T> struct Xor { static T of(T a, T b) { return T(a ^ b); } };
template <class T> struct Not { static T of(T a) { return T(~a); } };
// Shifts by more than there are bits are by all of them.
template <class T> struct Shl {
    static T of(T a, uint32_t n) { return n >= BITS<T> ? T(0) : T(uint64_t(a) << n); }
};
template <class T> struct Shr {
    static T of(T a, uint32_t n) {
        T none = std::is_signed_v<T> ? T(a >> (BITS<T> - 1)) : T(0);
        return n >= BITS<T> ? none : T(a >> n);
    }
};
template <class T> struct Bfe {
    static T of(T a, uint32_t position, uint32_t length) {
        position &= 255;
        length &= 255;
        if (length == 0) {
            return 0;
        }
        unsigned last = std::min(position + length - 1, BITS<T> - 1);
        bool sign = std::is_signed_v<T> && (Unsigned<T>(a) >> last & 1);
        if (position >= BITS<T>) {
            return T(sign ? -1 : 0);
        }
        Unsigned<T> field = Unsigned<T>(Unsigned<T>(a) >> position);
        Unsigned<T> above = Shl<Unsigned<T>>::of(Unsigned<T>(-1), last - position + 1);
        return T(sign ? field | above : Unsigned<T>(field & ~above));
    }
};
template <class T> struct Bfi {
    static T of(T a, T b, uint32_t position, uint32_t length) {
        position &= 255;
        length &= 255;
        T ones = T(Shl<T>::of(T(-1), position) & ~Shl<T>::of(T(-1), position + length));
        return T((b & ~ones) | (Shl<T>::of(a, position) & ones));
    }
};
template <class T> struct Popc { static uint32_t of(T a) { return uint32_t(__builtin_popcountll(a)); } };
template <class T> struct Clz { static uint32_t of(T a) { return a == 0 ? BITS<T> : uint32_t(__builtin_clzll(a)) - (64 - BITS<T>); } };
template <class T> struct Brev {
    static T of(T a) {
        T result = 0;
        for (unsigned i = 0; i < BITS<T>; i++) {
            result = T(result | (a >> i & 1) << (BITS<T> - 1 - i));
        }
        return result;
    }
};
struct Prmt {
    static uint32_t of(uint32_t a, uint32_t b, uint32_t selector) {
        uint64_t both = uint64_t(b) << 32 | a;
        uint32_t result = 0;
        for (unsigned i = 0; i < 4; i++) {
            uint32_t choice = selector >> 4 * i & 15, byte = uint32_t(both >> 8 * (choice & 7)) & 255;
            result |= (choice & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
        }
        return result;
    }
};
template <bool LEFT, bool WRAP> struct Shf {
    static uint32_t of(uint32_t low, uint32_t high, uint32_t n) {
        n = WRAP ? n & 31 : std::min(n, 32u);
        uint64_t both = uint64_t(high) << 32 | low;
        return LEFT ? uint32_t(both << n >> 32) : uint32_t(both >> n);
    }
};
template <class A, class B> struct Dp4a {
    static int32_t of(int32_t a, int32_t b, int32_t c) {
        uint32_t sum = uint32_t(c);
        for (unsigned i = 0; i < 4; i++) {
            sum += uint32_t(int32_t(A(a >> 8 * i)) * int32_t(B(b >> 8 * i)));
        }
        return int32_t(sum);
    }
};

// Calls with a null pointer of the type's integer; false for other types.
template <class Use> bool with_integer(Type type, Use use) {
    switch (type) {
        case Type::s16: use(static_cast<int16_t*>(nullptr)); return true;
        case Type::b16: case Type::u16: use(static_cast<uint16_t*>(nullptr)); return true;
        case Type::s32: use(static_cast<int32_t*>(nullptr)); return true;
        case Type::b32: case Type::u32: use(static_cast<uint32_t*>(nullptr)); return true;
        case Type::s64: use(static_cast<int64_t*>(nullptr)); return true;
        case Type::b64: case Type::u64: use(static_cast<uint64_t*>(nullptr)); return true;
        default: return false;
    }
}

template <template <class> class F> Family unary() {
    return [](Builder& builder, Modifiers& modifiers) {
        Type type = modifiers.type(builder.instruction());
        bool known = with_integer(type, [&](auto* of) {
            using T = std::remove_pointer_t<decltype(of)>;
            builder.simple(lanes<F<T>, T, T>(), Pipe::integer, type, 1);
        });
        if (!known) builder.unknown();
    };
}

template <template <class> class F> void binary(Builder& builder, Type type) {
    bool known = with_integer(type, [&](auto* of) {
        using T = std::remove_pointer_t<decltype(of)>;
        builder.simple(lanes<F<T>, T, T, T>(), Pipe::integer, type, 2);
    });
    if (!known) builder.unknown();
}

template <template <class> class F> void shift(Builder& builder, Modifiers& modifiers) {
    Type type = modifiers.type(builder.instruction());
    bool known = with_integer(type, [&](auto* of) {
        using T = std::remove_pointer_t<decltype(of)>;
        builder.add(lanes<F<T>, T, T, uint32_t>(), Pipe::integer, {builder.result(builder.operand(0), type),
                builder.value(builder.operand(1), type), builder.value(builder.operand(2), Type::u32)});
    });
    if (!known) builder.unknown();
}

template <class T, class WideT> void multiply_wide(Builder& builder, Type type, Type wide, bool with_addend) {
    std::vector<Value> values = {builder.result(builder.operand(0), wide), builder.value(builder.operand(1), type),
            builder.value(builder.operand(2), type)};
    if (with_addend) {
        values.push_back(builder.value(builder.operand(3), wide));
        builder.add(lanes<MadWide<T>, WideT, T, T, WideT>(), Pipe::integer, values);
    } else {
        builder.add(lanes<MulWide<T>, WideT, T, T>(), Pipe::integer, values);
    }
}

// mul and mad: of two numbers the lower half, the upper half, or all of the product.
template <bool ADDEND> void multiply(Builder& builder, Modifiers& modifiers) {
    bool low = modifiers.take("lo"), high = modifiers.take("hi"), wide = modifiers.take("wide");
    Type type = modifiers.type(builder.instruction());
    if (low + high + wide != 1) {
        builder.unknown();
    }
    if (wide) {
        switch (type) {
            case Type::s16: multiply_wide<int16_t, int32_t>(builder, type, Type::s32, ADDEND); return;
            case Type::u16: multiply_wide<uint16_t, uint32_t>(builder, type, Type::u32, ADDEND); return;
            case Type::s32: multiply_wide<int32_t, int64_t>(builder, type, Type::s64, ADDEND); return;
            case Type::u32: multiply_wide<uint32_t, uint64_t>(builder, type, Type::u64, ADDEND); return;
            default: builder.unknown();
        }
    }
    bool known = with_integer(type, [&](auto* of) {
        using T = std::remove_pointer_t<decltype(of)>;
        if (ADDEND) {
            builder.simple(low ? lanes<MadLow<T>, T, T, T, T>() : lanes<MadHigh<T>, T, T, T, T>(), Pipe::integer, type, 3);
        } else {
            builder.simple(low ? lanes<MulLow<T>, T, T, T>() : lanes<MulHigh<T>, T, T, T>(), Pipe::integer, type, 2);
        }
    });
    if (!known) builder.unknown();
}

enum class Logic { conjunction, disjunction, difference, negation };

template <Logic LOGIC> void predicates(Warp& warp, const Operation& operation) {
    uint32_t a = warp.predicate(operation.at[1]), b = LOGIC == Logic::negation ? 0 : warp.predicate(operation.at[2]);
    uint32_t result = LOGIC == Logic::conjunction ? a & b : LOGIC == Logic::disjunction ? a | b
            : LOGIC == Logic::difference ? a ^ b : ~a;
    uint32_t& d = warp.predicate(operation.at[0]);
    d = (d & ~warp.active) | (result & warp.active);
}

template <template <class> class F, Logic LOGIC> void logic(Builder& builder, Modifiers& modifiers) {
    Type type = modifiers.type(builder.instruction());
    if (type == Type::pred) {
        builder.add(both(predicates<LOGIC>), Pipe::integer, {builder.result(builder.operand(0), Type::pred),
                builder.predicate(builder.operand(1)), builder.predicate(builder.operand(2))});
    } else {
        binary<F>(builder, type);
    }
}

template <template <class> class F> void count_bits(Builder& builder, Modifiers& modifiers) {
    Type type = modifiers.type(builder.instruction());
    if (type != Type::b32 && type != Type::b64) {
        builder.unknown();
    }
    builder.add(type == Type::b32 ? lanes<F<uint32_t>, uint32_t, uint32_t>() : lanes<F<uint64_t>, uint32_t, uint64_t>(),
            Pipe::integer, {builder.result(builder.operand(0), Type::u32), builder.value(builder.operand(1), type)});
}

// Any function of three bits, by its table of eight results.
void lop3(Warp& warp, const Operation& operation) {
    auto *d = warp.row<uint32_t>(operation.at[0]), *a = warp.row<uint32_t>(operation.at[1]);
    auto *b = warp.row<uint32_t>(operation.at[2]), *c = warp.row<uint32_t>(operation.at[3]);
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint32_t result = 0;
        for (unsigned i = 0; i < 8; i++) {
            uint32_t chosen = (i & 4 ? a[lane] : ~a[lane]) & (i & 2 ? b[lane] : ~b[lane]) & (i & 1 ? c[lane] : ~c[lane]);
            result |= operation.number >> i & 1 ? chosen : 0;
        }
        d[lane] = warp.is_active(lane) ? result : d[lane];
    }
}

template <template <class> class F> Family arithmetic() {
    return [](Builder& builder, Modifiers& modifiers) { binary<F>(builder, modifiers.type(builder.instruction())); };
}

void bit_field_extract(Builder& builder, Modifiers& modifiers) {
    Type type = modifiers.type(builder.instruction());
    bool known = bytes_of(type) >= 4 && with_integer(type, [&](auto* of) {
        using T = std::remove_pointer_t<decltype(of)>;
        builder.add(lanes<Bfe<T>, T, T, uint32_t, uint32_t>(), Pipe::integer, {builder.result(builder.operand(0), type),
                builder.value(builder.operand(1), type), builder.value(builder.operand(2), Type::u32),
                builder.value(builder.operand(3), Type::u32)});
    });
    if (!known) builder.unknown();
}

void bit_field_insert(Builder& builder, Modifiers& modifiers) {
    Type type = modifiers.type(builder.instruction());
    if (type != Type::b32 && type != Type::b64) {
        builder.unknown();
    }
    builder.add(type == Type::b32 ? lanes<Bfi<uint32_t>, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>()
            : lanes<Bfi<uint64_t>, uint64_t, uint64_t, uint64_t, uint32_t, uint32_t>(), Pipe::integer,
            {builder.result(builder.operand(0), type), builder.value(builder.operand(1), type),
                    builder.value(builder.operand(2), type), builder.value(builder.operand(3), Type::u32),
                    builder.value(builder.operand(4), Type::u32)});
}

void dot_product(Builder& builder, Modifiers& modifiers) {
    Type a = modifiers.type(builder.instruction()), b = modifiers.type(builder.instruction());
    bool signed_a = a == Type::s32, signed_b = b == Type::s32;
    if ((!signed_a && a != Type::u32) || (!signed_b && b != Type::u32)) {
        builder.unknown();
    }
    builder.simple(signed_a ? (signed_b ? lanes<Dp4a<int8_t, int8_t>, int32_t, int32_t, int32_t, int32_t>()
                            : lanes<Dp4a<int8_t, uint8_t>, int32_t, int32_t, int32_t, int32_t>())
                    : (signed_b ? lanes<Dp4a<uint8_t, int8_t>, int32_t, int32_t, int32_t, int32_t>()
                            : lanes<Dp4a<uint8_t, uint8_t>, int32_t, int32_t, int32_t, int32_t>()), Pipe::integer, Type::s32, 3);
}

void funnel_shift(Builder& builder, Modifiers& modifiers) {
    bool left = modifiers.take("l"), right = modifiers.take("r"), wrap = modifiers.take("wrap"), clamp = modifiers.take("clamp");
    if (left == right || wrap == clamp || modifiers.type(builder.instruction()) != Type::b32) {
        builder.unknown();
    }
    builder.simple(left ? (wrap ? lanes<Shf<true, true>, uint32_t, uint32_t, uint32_t, uint32_t>()
                            : lanes<Shf<true, false>, uint32_t, uint32_t, uint32_t, uint32_t>())
                    : (wrap ? lanes<Shf<false, true>, uint32_t, uint32_t, uint32_t, uint32_t>()
                            : lanes<Shf<false, false>, uint32_t, uint32_t, uint32_t, uint32_t>()), Pipe::integer, Type::b32, 3);
}

}  // namespace

Handlers negation() {
    return both(predicates<Logic::negation>);
}

void add_integers(Opcodes& opcodes) {
    // those of floats, in floats.cpp, call these for other types
    opcodes["add"] = arithmetic<Add>();
    opcodes["sub"] = arithmetic<Sub>();
    opcodes["mul"] = multiply<false>;
    opcodes["mad"] = multiply<true>;
    opcodes["div"] = arithmetic<Div>();
    opcodes["rem"] = arithmetic<Rem>();
    opcodes["min"] = arithmetic<Min>();
    opcodes["max"] = arithmetic<Max>();
    opcodes["neg"] = unary<Neg>();
    opcodes["abs"] = unary<Abs>();
    opcodes["and"] = logic<And, Logic::conjunction>;
    opcodes["or"] = logic<Or, Logic::disjunction>;
    opcodes["xor"] = logic<Xor, Logic::difference>;
    opcodes["not"] = [](Builder& builder, Modifiers& modifiers) {
        if (!modifiers.take("pred")) {
            unary<Not>()(builder, modifiers);
            return;
        }
        builder.add(negation(), Pipe::integer, {builder.result(builder.operand(0), Type::pred),
                builder.predicate(builder.operand(1))});
    };
    opcodes["shl"] = shift<Shl>;
    opcodes["shr"] = shift<Shr>;
    opcodes["shf"] = funnel_shift;
    opcodes["bfe"] = bit_field_extract;
    opcodes["bfi"] = bit_field_insert;
    opcodes["popc"] = count_bits<Popc>;
    opcodes["clz"] = count_bits<Clz>;
    opcodes["brev"] = unary<Brev>();
    opcodes["prmt"] = [](Builder& builder, Modifiers& modifiers) {
        if (modifiers.type(builder.instruction()) != Type::b32) builder.unknown();
        builder.simple(lanes<Prmt, uint32_t, uint32_t, uint32_t, uint32_t>(), Pipe::integer, Type::b32, 3);
    };
    opcodes["lop3"] = [](Builder& builder, Modifiers& modifiers) {
        if (modifiers.type(builder.instruction()) != Type::b32 || builder.operands() != 5) builder.unknown();
        Draft& draft = builder.add(both(lop3), Pipe::integer, {builder.result(builder.operand(0), Type::b32),
                builder.value(builder.operand(1), Type::b32), builder.value(builder.operand(2), Type::b32),
                builder.value(builder.operand(3), Type::b32)});
        draft.operation.number = int64_t(builder.operand(4).bits);
    };
    opcodes["dp4a"] = dot_product;
}

}  // namespace emulator::ptx
