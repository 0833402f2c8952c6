// mov, also of several registers into one and back, and cvta.
#include "builder.h"
#include "warp.h"

namespace emulator::ptx {

namespace {

template <class T> struct Copy { static T of(T a) { return a; } };

void copy_predicate(Warp& warp, const Operation& operation) {
    uint32_t &d = warp.predicate(operation.at[0]), a = warp.predicate(operation.at[1]);
    d = (d & ~warp.active) | (a & warp.active);
}

// Of the lowest bits first. Several results: results and then the source; one result: it and then the sources.
template <class Wide> void pack(Warp& warp, const Operation& operation) {
    auto parts = unsigned(operation.number);
    const unsigned bits = 8 * unsigned(sizeof(Wide)) / parts;
    Wide* d = warp.row<Wide>(operation.at[0]);
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t whole = 0;
        for (unsigned i = 0; i < parts; i++) {
            uint64_t part = warp.row<uint32_t>(operation.at[1 + i])[lane] & (~uint64_t(0) >> (64 - bits));
            whole |= part << bits * i;
        }
        d[lane] = warp.is_active(lane) ? Wide(whole) : d[lane];
    }
}

template <class Wide> void unpack(Warp& warp, const Operation& operation) {
    auto parts = unsigned(operation.number);
    const unsigned bits = 8 * unsigned(sizeof(Wide)) / parts;
    const Wide* a = warp.row<Wide>(operation.at[parts]);
    for (unsigned lane = 0; lane < LANES; lane++) {
        Wide whole = a[lane];
        for (unsigned i = 0; i < parts && warp.is_active(lane); i++) {
            warp.row<uint32_t>(operation.at[i])[lane] = uint32_t(uint64_t(whole) >> bits * i & (~uint64_t(0) >> (64 - bits)));
        }
    }
}

// The type of so many parts of a type.
Type part_of(const Builder& builder, Type whole, size_t parts) {
    unsigned bytes = bytes_of(whole) / unsigned(parts);
    if (bytes * parts != bytes_of(whole) || bytes < 2) {
        builder.unknown();
    }
    return bytes == 2 ? Type::b16 : Type::b32;
}

void move(Builder& builder, Modifiers& modifiers) {
    Type type = modifiers.type(builder.instruction());
    const Operand &to = builder.operand(0), &from = builder.operand(1);
    std::vector<Value> values;
    if (to.kind == Operand::list) {
        Type part = part_of(builder, type, to.parts.size());
        for (const Operand& each : to.parts) {
            values.push_back(builder.result(each, part));
        }
        values.push_back(builder.value(from, type));
        builder.add(both(bytes_of(type) == 8 ? unpack<uint64_t> : unpack<uint32_t>), Pipe::move, values,
                unsigned(to.parts.size())).operation.number = int64_t(to.parts.size());
    } else if (from.kind == Operand::list) {
        Type part = part_of(builder, type, from.parts.size());
        values.push_back(builder.result(to, type));
        for (const Operand& each : from.parts) {
            values.push_back(builder.value(each, part));
        }
        builder.add(both(bytes_of(type) == 8 ? pack<uint64_t> : pack<uint32_t>), Pipe::move, values).operation.number
                = int64_t(from.parts.size());
    } else if (type == Type::pred) {
        builder.add(both(copy_predicate), Pipe::move, {builder.result(to, type), builder.predicate(from)});
    } else {
        builder.simple(bytes_of(type) == 8 ? lanes<Copy<uint64_t>, uint64_t, uint64_t>()
                : lanes<Copy<uint32_t>, uint32_t, uint32_t>(), Pipe::move, type, 1);
    }
}

template <uint64_t WINDOW> struct ToGeneric { static uint64_t of(uint64_t a) { return a + WINDOW; } };

void convert_address(Builder& builder, Modifiers& modifiers) {
    bool from_generic = modifiers.take("to");
    std::string space = modifiers.take_one({"global", "shared", "local"});
    if (space.empty() || modifiers.type(builder.instruction()) != Type::u64) {
        builder.unknown();
    }
    Handlers run = space == "global" ? lanes<ToGeneric<0>, uint64_t, uint64_t>()
            : space == "shared" ? (from_generic ? lanes<ToGeneric<0 - SHARED_WINDOW>, uint64_t, uint64_t>()
                    : lanes<ToGeneric<SHARED_WINDOW>, uint64_t, uint64_t>())
            : (from_generic ? lanes<ToGeneric<0 - LOCAL_WINDOW>, uint64_t, uint64_t>()
                    : lanes<ToGeneric<LOCAL_WINDOW>, uint64_t, uint64_t>());
    builder.simple(run, Pipe::move, Type::u64, 1);
}

}  // namespace

void add_moves(Opcodes& opcodes) {
    opcodes["mov"] = move;
    opcodes["cvta"] = convert_address;
}

}  // namespace emulator::ptx
