// mma.sync.aligned of int8: fragments as the PTX ISA's tables lay them out, "Matrix Fragments for mma.m16n8k32" and ".m16n8k16"
// with .s8 or .u8. Independent of the product's own twin in mma.cpp above.
#include "builder.h"
#include "warp.h"

#include <algorithm>

namespace emulator::ptx {

namespace {

constexpr unsigned ROWS = 16, COLUMNS = 8;

// Of the tables: where element i of a lane's fragment lies. `deep`: k is 32, else 16.
struct Place {
    unsigned row, column;
};

Place in_a(unsigned lane, unsigned i, bool deep) {
    unsigned group = lane >> 2, within = lane % 4;
    if (deep) {
        return {i < 4 || (i >= 8 && i < 12) ? group : group + 8, within * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
    }
    return {i < 4 ? group : group + 8, within * 4 + (i & 3)};
}

Place in_b(unsigned lane, unsigned i) {
    unsigned group = lane >> 2, within = lane % 4;
    return {within * 4 + (i & 3) + (i >= 4 ? 16 : 0), group};
}

Place in_c(unsigned lane, unsigned i) {
    unsigned group = lane >> 2, within = lane % 4;
    return {i < 2 ? group : group + 8, within * 2 + (i & 1)};
}

// The tables, looked up once: where byte i of a lane's fragment goes.
template <unsigned DEPTH> struct Tables {
    uint16_t a[LANES][DEPTH / 2], b[LANES][DEPTH / 4], c[LANES][4];

    Tables() {
        for (unsigned lane = 0; lane < LANES; lane++) {
            for (unsigned i = 0; i < DEPTH / 2; i++) {
                Place place = in_a(lane, i, DEPTH == 32);
                a[lane][i] = uint16_t(place.row * DEPTH + place.column);
            }
            for (unsigned i = 0; i < DEPTH / 4; i++) {
                Place place = in_b(lane, i);
                b[lane][i] = uint16_t(place.row * COLUMNS + place.column);
            }
            for (unsigned i = 0; i < 4; i++) {
                Place place = in_c(lane, i);
                c[lane][i] = uint16_t(place.row * COLUMNS + place.column);
            }
        }
    }
};

// Products of codes and sums of 32 of them are whole numbers below 2^24, so exact in float32, which is what vectors are fast at.
template <unsigned DEPTH> void multiply(const float (&a)[ROWS * DEPTH], const float (&b)[DEPTH * COLUMNS], float (&d)[ROWS * COLUMNS]) {
    for (unsigned i = 0; i < ROWS; i++) {
        float sums[COLUMNS] = {};
        for (unsigned k = 0; k < DEPTH; k++) {
            for (unsigned j = 0; j < COLUMNS; j++) {
                sums[j] = __builtin_fmaf(a[i * DEPTH + k], b[k * COLUMNS + j], sums[j]);
            }
        }
        std::copy_n(sums, COLUMNS, d + i * COLUMNS);
    }
}

// Four results, then the words of A, of B, and of C.
template <unsigned DEPTH, class A, class B> void product(Warp& warp, const Operation& operation) {
    static const Tables<DEPTH> tables;
    float a[ROWS * DEPTH], b[DEPTH * COLUMNS], d[ROWS * COLUMNS];
    constexpr unsigned WORDS_A = DEPTH / 8, WORDS_B = DEPTH / 16;
    for (unsigned w = 0; w < WORDS_A; w++) {
        const auto* words = warp.row<uint32_t>(operation.at[4 + w]);
        for (unsigned lane = 0; lane < LANES; lane++) {
            for (unsigned i = 0; i < 4; i++) {
                a[tables.a[lane][4 * w + i]] = float(A(words[lane] >> 8 * i));
            }
        }
    }
    for (unsigned w = 0; w < WORDS_B; w++) {
        const auto* words = warp.row<uint32_t>(operation.at[4 + WORDS_A + w]);
        for (unsigned lane = 0; lane < LANES; lane++) {
            for (unsigned i = 0; i < 4; i++) {
                b[tables.b[lane][4 * w + i]] = float(B(words[lane] >> 8 * i));
            }
        }
    }
    multiply<DEPTH>(a, b, d);
    for (unsigned i = 0; i < 4; i++) {
        const auto* c = warp.row<uint32_t>(operation.at[4 + WORDS_A + WORDS_B + i]);
        auto* result = warp.row<uint32_t>(operation.at[i]);
        for (unsigned lane = 0; lane < LANES; lane++) {
            // sums wrap around
            result[lane] = c[lane] + uint32_t(int32_t(d[tables.c[lane][i]]));
        }
    }
}

template <unsigned DEPTH> Handler of_types(Type a, Type b) {
    return a == Type::s8 ? (b == Type::s8 ? product<DEPTH, int8_t, int8_t> : product<DEPTH, int8_t, uint8_t>)
            : (b == Type::s8 ? product<DEPTH, uint8_t, int8_t> : product<DEPTH, uint8_t, uint8_t>);
}

void add_product(Builder& builder, Modifiers& modifiers) {
    bool known = modifiers.take("sync") && modifiers.take("aligned");
    std::string shape = modifiers.take_one({"m16n8k32", "m16n8k16"});
    known = known && modifiers.take("row") && modifiers.take("col") && !shape.empty() && builder.operands() == 4;
    Type types[4];
    for (Type& type : types) {
        type = modifiers.type(builder.instruction());
    }
    bool deep = shape == "m16n8k32";
    auto is_code = [](Type type) { return type == Type::s8 || type == Type::u8; };
    if (!known || types[0] != Type::s32 || types[3] != Type::s32 || !is_code(types[1]) || !is_code(types[2])) {
        builder.unknown();
    }
    const size_t words[] = {4, deep ? 4u : 2u, deep ? 2u : 1u, 4};
    std::vector<Value> values;
    for (size_t i = 0; i < 4; i++) {
        const Operand& operand = builder.operand(i);
        std::vector<Operand> parts = operand.kind == Operand::list ? operand.parts : std::vector<Operand>{operand};
        if (parts.size() != words[i]) {
            builder.unknown();
        }
        for (const Operand& part : parts) {
            values.push_back(i == 0 ? builder.result(part, Type::b32) : builder.value(part, Type::b32));
        }
    }
    Operation& operation = builder.add(both(deep ? of_types<32>(types[1], types[2]) : of_types<16>(types[1], types[2])),
            Pipe::tensor, values, 4).operation;
    operation.kind = Kind::aligned;
    operation.number = ROWS * COLUMNS * (deep ? 32 : 16);
}

}  // namespace

void add_mma(Opcodes& opcodes) {
    opcodes["mma"] = add_product;
}

}  // namespace emulator::ptx
