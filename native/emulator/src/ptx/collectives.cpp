// What lanes of a warp do together: shfl, vote, redux, bar.warp.sync. They come with a mask of who has to take part; the block
// has waited for all of them.
#include "builder.h"
#include "warp.h"

#include <algorithm>

namespace emulator::ptx {

namespace {

enum class Shuffle : uint8_t { up, down, bfly, idx };

// Results: the value and whether it comes from a lane within bounds; then value, lane or distance, bounds, mask.
void shuffle(Warp& warp, const Operation& operation) {
    auto *d = warp.row<uint32_t>(operation.at[0]), *a = warp.row<uint32_t>(operation.at[2]);
    auto *b = warp.row<uint32_t>(operation.at[3]), *c = warp.row<uint32_t>(operation.at[4]);
    uint32_t values[LANES], inside = 0;
    std::copy_n(a, LANES, values);
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        int lane = __builtin_ctz(left), distance = int(b[lane] & 31), bound = int(c[lane] & 31);
        int segments = int(c[lane] >> 8 & 31), lowest = lane & segments, highest = lowest | (bound & ~segments);
        int from = 0;
        bool within = false;
        switch (Shuffle(operation.detail)) {
            case Shuffle::up: from = lane - distance; within = from >= highest; break;
            case Shuffle::down: from = lane + distance; within = from <= highest; break;
            case Shuffle::bfly: from = lane ^ distance; within = from <= highest; break;
            case Shuffle::idx: from = lowest | (distance & ~segments); within = from <= highest; break;
        }
        from = within ? from : lane;
        // what a lane holds that does not take part is undefined
        d[lane] = warp.active >> from & 1 ? values[from] : ~0u;
        inside |= uint32_t(within) << lane;
    }
    uint32_t& p = warp.predicate(operation.at[1]);
    p = (p & ~warp.active) | (inside & warp.active);
}

enum class Vote : uint8_t { all, any, uni, ballot };

// Result, predicate, mask.
void vote(Warp& warp, const Operation& operation) {
    uint32_t yes = warp.predicate(operation.at[1]) & warp.active, answers = 0;
    auto how = Vote(operation.detail);
    const auto* masks = warp.row<uint32_t>(operation.at[2]);
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        uint32_t asked = masks[lane] & warp.active, of_them = yes & asked;
        if (how == Vote::ballot) {
            warp.row<uint32_t>(operation.at[0])[lane] = of_them;
        } else {
            bool holds = how == Vote::all ? of_them == asked : how == Vote::any ? of_them != 0 : of_them == asked || of_them == 0;
            answers |= uint32_t(holds) << lane;
        }
    }
    if (how != Vote::ballot) {
        uint32_t& p = warp.predicate(operation.at[0]);
        p = (p & ~warp.active) | answers;
    }
}

enum class Reduce : uint8_t { add, min_signed, max_signed, min_unsigned, max_unsigned, bit_and, bit_or, bit_xor };

uint32_t combined(Reduce how, uint32_t a, uint32_t b) {
    switch (how) {
        case Reduce::add: return a + b;
        case Reduce::min_signed: return uint32_t(std::min(int32_t(a), int32_t(b)));
        case Reduce::max_signed: return uint32_t(std::max(int32_t(a), int32_t(b)));
        case Reduce::min_unsigned: return std::min(a, b);
        case Reduce::max_unsigned: return std::max(a, b);
        case Reduce::bit_and: return a & b;
        case Reduce::bit_or: return a | b;
        case Reduce::bit_xor: return a ^ b;
    }
    return 0;
}

// Result, value, mask.
void reduce(Warp& warp, const Operation& operation) {
    auto *d = warp.row<uint32_t>(operation.at[0]), *a = warp.row<uint32_t>(operation.at[1]), *masks = warp.row<uint32_t>(operation.at[2]);
    uint32_t values[LANES];
    std::copy_n(a, LANES, values);
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        uint32_t asked = masks[lane] & warp.active, result = values[__builtin_ctz(asked)];
        for (uint32_t rest = asked & (asked - 1); rest != 0; rest &= rest - 1) {
            result = combined(Reduce(operation.detail), result, values[__builtin_ctz(rest)]);
        }
        d[lane] = result;
    }
}

// An operation for which the lanes of the mask come together, which is its last operand.
Operation& together(Builder& builder, Handler run, Pipe pipe, std::vector<Value> values, const Operand& mask, unsigned results) {
    values.push_back(builder.value(mask, Type::b32));
    size_t last = values.size() - 1;
    Operation& operation = builder.add(both(run), pipe, std::move(values), results).operation;
    operation.kind = Kind::together;
    operation.number = int64_t(last);
    return operation;
}

void add_shuffle(Builder& builder, Modifiers& modifiers) {
    bool sync = modifiers.take("sync");
    std::string mode = modifiers.take_one({"up", "down", "bfly", "idx"});
    if (!sync || mode.empty() || modifiers.type(builder.instruction()) != Type::b32 || builder.operands() != 5) {
        builder.unknown();
    }
    const Operand& to = builder.operand(0);
    bool pair = to.kind == Operand::list;
    Value d = builder.result(pair ? to.parts[0] : to, Type::b32);
    Value p = pair ? builder.result(to.parts[1], Type::pred) : builder.unused(Type::pred);
    Shuffle how = mode == "up" ? Shuffle::up : mode == "down" ? Shuffle::down : mode == "bfly" ? Shuffle::bfly : Shuffle::idx;
    together(builder, shuffle, Pipe::shuffle, {d, p, builder.value(builder.operand(1), Type::b32),
            builder.value(builder.operand(2), Type::b32), builder.value(builder.operand(3), Type::b32)}, builder.operand(4), 2)
            .detail = uint8_t(how);
}

void add_vote(Builder& builder, Modifiers& modifiers) {
    bool sync = modifiers.take("sync");
    std::string mode = modifiers.take_one({"all", "any", "uni", "ballot"});
    Type type = modifiers.type(builder.instruction());
    if (!sync || mode.empty() || type != (mode == "ballot" ? Type::b32 : Type::pred) || builder.operands() != 3) {
        builder.unknown();
    }
    Vote how = mode == "all" ? Vote::all : mode == "any" ? Vote::any : mode == "uni" ? Vote::uni : Vote::ballot;
    Value predicate = builder.predicate(builder.operand(1));
    together(builder, vote, Pipe::shuffle, {builder.result(builder.operand(0), type), predicate}, builder.operand(2), 1)
            .detail = uint8_t(how);
}

void add_reduction(Builder& builder, Modifiers& modifiers) {
    bool sync = modifiers.take("sync");
    std::string name = modifiers.take_one({"add", "min", "max", "and", "or", "xor"});
    Type type = modifiers.type(builder.instruction());
    bool bits = name == "and" || name == "or" || name == "xor", is_signed = type == Type::s32;
    if (!sync || name.empty() || (bits ? type != Type::b32 : !is_signed && type != Type::u32) || builder.operands() != 3) {
        builder.unknown();
    }
    Reduce how = name == "add" ? Reduce::add : name == "min" ? (is_signed ? Reduce::min_signed : Reduce::min_unsigned)
            : name == "max" ? (is_signed ? Reduce::max_signed : Reduce::max_unsigned)
            : name == "and" ? Reduce::bit_and : name == "or" ? Reduce::bit_or : Reduce::bit_xor;
    together(builder, reduce, Pipe::shuffle, {builder.result(builder.operand(0), type), builder.value(builder.operand(1), type)},
            builder.operand(2), 1).detail = uint8_t(how);
}

void nothing(Warp&, const Operation&) {
}

// bar.warp.sync, bar.sync and barrier.sync, bar.red: operands of the block's are its number, how many threads (0: all), the
// predicate, and the result of a vote.
void add_barrier(Builder& builder, Modifiers& modifiers) {
    modifiers.take("cta");
    if (modifiers.take("warp")) {
        if (!modifiers.take("sync") || builder.operands() != 1) {
            builder.unknown();
        }
        together(builder, nothing, Pipe::control, {}, builder.operand(0), 0);
        return;
    }
    bool sync = modifiers.take("sync"), red = modifiers.take("red");
    modifiers.take("aligned");
    std::string name = red ? modifiers.take_one({"popc", "and", "or"}) : "";
    Type type = red ? modifiers.type(builder.instruction()) : Type::pred;
    size_t first = red ? 1 : 0, given = builder.operands() - first - (red ? 1 : 0);
    if (sync == red || (red && name.empty()) || (red && type != (name == "popc" ? Type::u32 : Type::pred)) || given < 1 || given > 2) {
        builder.unknown();
    }
    Value number = builder.value(builder.operand(first), Type::u32);
    Value count = given == 2 ? builder.value(builder.operand(first + 1), Type::u32) : builder.constant(0, Type::u32);
    Value predicate = red ? builder.predicate(builder.operand(builder.operands() - 1)) : builder.constant(0, Type::pred);
    Value result = red ? builder.result(builder.operand(0), type) : builder.unused(Type::pred);
    Operation& operation = builder.add(both(nothing), Pipe::control, {result, number, count, predicate}).operation;
    operation.kind = Kind::barrier;
    operation.detail = uint8_t(!red ? BarrierVote::none : name == "popc" ? BarrierVote::popc : name == "and" ? BarrierVote::all
            : BarrierVote::any);
}

void active_mask(Warp& warp, const Operation& operation) {
    auto* d = warp.row<uint32_t>(operation.at[0]);
    for (unsigned lane = 0; lane < LANES; lane++) {
        d[lane] = warp.is_active(lane) ? warp.active : d[lane];
    }
}

}  // namespace

void add_warp(Opcodes& opcodes) {
    opcodes["shfl"] = add_shuffle;
    opcodes["vote"] = add_vote;
    opcodes["redux"] = add_reduction;
    opcodes["bar"] = add_barrier;
    opcodes["barrier"] = add_barrier;
    opcodes["activemask"] = [](Builder& builder, Modifiers& modifiers) {
        if (modifiers.type(builder.instruction()) != Type::b32 || builder.operands() != 1) {
            builder.unknown();
        }
        builder.add(both(active_mask), Pipe::integer, {builder.result(builder.operand(0), Type::b32)});
    };
}

}  // namespace emulator::ptx
