// ld, st, cp.async. Source: PTX ISA, "Data Movement and Conversion Instructions".
#include "memory.h"

#include "../api.h"

#include <algorithm>
#include <cstring>

namespace emulator::ptx {

namespace {

// Results, then the address. D: what a register holds, M: what lies in memory.
template <class D, class M, unsigned COUNT, Space SPACE> void load(Warp& warp, const Operation& operation) {
    Pointers from;
    locate(warp, operation, SPACE, sizeof(M) * COUNT, false, from);
    D* rows[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        rows[i] = warp.row<D>(operation.at[i]);
    }
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        M numbers[COUNT];
        memcpy(numbers, from[lane], sizeof numbers);
        for (unsigned i = 0; i < COUNT; i++) {
            rows[i][lane] = D(numbers[i]);
        }
    }
}

// The address, then what is stored.
template <class D, class M, unsigned COUNT, Space SPACE> void store(Warp& warp, const Operation& operation) {
    Pointers to;
    locate(warp, operation, SPACE, sizeof(M) * COUNT, true, to);
    const D* rows[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        rows[i] = warp.row<D>(operation.at[1 + i]);
    }
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        M numbers[COUNT];
        for (unsigned i = 0; i < COUNT; i++) {
            numbers[i] = M(rows[i][lane]);
        }
        memcpy(to[lane], numbers, sizeof numbers);
    }
}

template <bool STORE, class D, class M, unsigned COUNT> Handler in_space(Space space) {
    switch (space) {
        case Space::global: return STORE ? store<D, M, COUNT, Space::global> : load<D, M, COUNT, Space::global>;
        case Space::shared: return STORE ? store<D, M, COUNT, Space::shared> : load<D, M, COUNT, Space::shared>;
        case Space::local: return STORE ? store<D, M, COUNT, Space::local> : load<D, M, COUNT, Space::local>;
        case Space::parameter: return STORE ? nullptr : load<D, M, COUNT, Space::parameter>;
        case Space::generic: return STORE ? store<D, M, COUNT, Space::generic> : load<D, M, COUNT, Space::generic>;
    }
    return nullptr;
}

template <bool STORE, class D, class M> Handler of_count(unsigned count, Space space) {
    return count == 1 ? in_space<STORE, D, M, 1>(space) : count == 2 ? in_space<STORE, D, M, 2>(space)
            : sizeof(M) < 8 ? in_space<STORE, D, M, 4>(space) : nullptr;
}

// Small signed integers are extended to a register of 32 bits; what a wider register holds is extended to that.
template <bool STORE> Handler access(Type type, bool wide_register, unsigned count, Space space) {
    bool wide = wide_register && bytes_of(type) < 8;
    switch (type) {
        case Type::s8: return wide ? of_count<STORE, int64_t, int8_t>(count, space) : of_count<STORE, int32_t, int8_t>(count, space);
        case Type::u8: case Type::b8:
            return wide ? of_count<STORE, uint64_t, uint8_t>(count, space) : of_count<STORE, uint32_t, uint8_t>(count, space);
        case Type::s16: return wide ? of_count<STORE, int64_t, int16_t>(count, space) : of_count<STORE, int32_t, int16_t>(count, space);
        case Type::u16: case Type::b16:
            return wide ? of_count<STORE, uint64_t, uint16_t>(count, space) : of_count<STORE, uint32_t, uint16_t>(count, space);
        case Type::s32: return wide ? of_count<STORE, int64_t, int32_t>(count, space) : of_count<STORE, int32_t, int32_t>(count, space);
        case Type::u32: case Type::b32: case Type::f32:
            return wide ? of_count<STORE, uint64_t, uint32_t>(count, space) : of_count<STORE, uint32_t, uint32_t>(count, space);
        case Type::u64: case Type::s64: case Type::b64: case Type::f64: return of_count<STORE, uint64_t, uint64_t>(count, space);
        case Type::pred: break;
    }
    return nullptr;
}

template <bool STORE> void load_or_store(Builder& builder, Modifiers& modifiers) {
    take_hints(modifiers);
    Space space = take_space(modifiers);
    unsigned count = modifiers.take("v4") ? 4 : modifiers.take("v2") ? 2 : 1;
    Type type = modifiers.type(builder.instruction());
    const Operand &memory = builder.operand(STORE ? 0 : 1), &numbers = builder.operand(STORE ? 1 : 0);
    std::vector<Operand> parts = numbers.kind == Operand::list ? numbers.parts : std::vector<Operand>{numbers};
    Type own, address_type;
    bool wide = builder.declared(parts[0], own) && bytes_of(own) == 8;
    Handler run = access<STORE>(type, wide, count, space);
    if (run == nullptr || parts.size() != count || builder.operands() != 2) {
        builder.unknown();
    }
    Type held = wide ? Type::b64 : type;
    std::vector<Value> values;
    for (const Operand& part : parts) {
        values.push_back(STORE ? builder.value(part, held) : builder.result(part, held));
    }
    Value address = builder.address(memory, space, address_type);
    values.insert(STORE ? values.begin() : values.end(), address);
    Draft& draft = builder.add(both(run), Pipe::memory, values, STORE ? 0 : count);
    Operation& operation = draft.operation;
    operation.number = memory.offset;
    operation.address = uint8_t(STORE ? 0 : count);
    operation.access = {space, bytes_of(type) * count, STORE, false, false, bytes_of(address_type) == 8};
}

// Operands: target, source, how many bytes are read of it.
void copy_async(Warp& warp, const Operation& operation) {
    auto bytes = unsigned(operation.access.bytes);
    PendingCopies copies;
    copies.lanes = warp.active;
    copies.bytes = bytes;
    locate(warp, operation, Space::shared, bytes, true, copies.target);
    const auto* source = warp.row<uint64_t>(operation.at[1]);
    const auto* read = warp.row<uint32_t>(operation.at[2]);
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        if (source[lane] % bytes != 0) {
            stop(warp, operation, lane, CUDA_ERROR_MISALIGNED_ADDRESS, "asynchronous copy from a misaligned address");
        }
        unsigned count = std::min(read[lane], bytes);
        if (count > 0 && warp.block->piece_of(source[lane], count) == nullptr) {
            stop(warp, operation, lane, CUDA_ERROR_ILLEGAL_ADDRESS, "copies " + std::to_string(count) + " bytes from"
                    " what is no memory of the device; " + nearest(source[lane]));
        }
        copies.source[lane] = reinterpret_cast<const unsigned char*>(source[lane]);
        copies.source_bytes[lane] = count;
        copies.group[lane] = warp.groups[lane];
        // until the bytes arrive there is garbage
        memset(copies.target[lane], 0xff, bytes);
    }
    warp.copies.push_back(copies);
}

void commit(Warp& warp, const Operation&) {
    for (unsigned lane = 0; lane < LANES; lane++) {
        warp.groups[lane] += warp.is_active(lane);
    }
}

void wait_for_groups(Warp& warp, const Operation& operation) {
    finish_copies(warp, operation, warp.active, unsigned(operation.number), true);
}

void wait_for_all(Warp& warp, const Operation& operation) {
    finish_copies(warp, operation, warp.active);
}

void copy(Builder& builder, Modifiers& modifiers) {
    if (!modifiers.take("async")) {
        builder.unknown();
    }
    if (modifiers.take("commit_group")) {
        builder.add(both(commit), Pipe::control, {}, 0);
    } else if (modifiers.take("wait_group")) {
        builder.add(both(wait_for_groups), Pipe::control, {}, 0).operation.number = int64_t(builder.operand(0).bits);
    } else if (modifiers.take("wait_all")) {
        builder.add(both(wait_for_all), Pipe::control, {}, 0);
    } else {
        take_hints(modifiers);
        bool spaces = (modifiers.take("shared") || modifiers.take("shared::cta")) && modifiers.take("global");
        const Operand &target = builder.operand(0), &source = builder.operand(1), &size = builder.operand(2);
        Type target_type, source_type;
        Value to = builder.address(target, Space::shared, target_type), from = builder.address(source, Space::global, source_type);
        bool known = spaces && source.offset == 0 && size.kind == Operand::number && bytes_of(source_type) == 8
                && (size.bits == 4 || size.bits == 8 || size.bits == 16) && builder.operands() <= 4;
        if (!known) {
            builder.unknown();
        }
        Value read = builder.operands() == 4 ? builder.value(builder.operand(3), Type::u32) : builder.constant(size.bits, Type::u32);
        Operation& operation = builder.add(both(copy_async), Pipe::memory, {to, from, read}, 0).operation;
        operation.number = target.offset;
        operation.address = 0;
        operation.access = {Space::shared, unsigned(size.bits), true, true, false, bytes_of(target_type) == 8};
    }
}

}  // namespace

void finish_copies(Warp& warp, const Operation& operation, uint32_t lanes, unsigned groups_left, bool only_committed) {
    for (PendingCopies& copies : warp.copies) {
        for (uint32_t left = copies.lanes & lanes; left != 0; left &= left - 1) {
            unsigned lane = unsigned(__builtin_ctz(left));
            if (only_committed && copies.group[lane] + groups_left >= warp.groups[lane]) {
                continue;
            }
            note_shared(warp, operation, lane, copies.target[lane], copies.bytes, true);
            memcpy(copies.target[lane], copies.source[lane], copies.source_bytes[lane]);
            memset(copies.target[lane] + copies.source_bytes[lane], 0, copies.bytes - copies.source_bytes[lane]);
            copies.lanes &= ~(1u << lane);
        }
    }
    size_t kept = 0;
    while (kept < warp.copies.size() && warp.copies[kept].lanes == 0) {
        kept++;
    }
    warp.copies.erase(warp.copies.begin(), warp.copies.begin() + long(kept));
}

void add_memory(Opcodes& opcodes) {
    opcodes["ld"] = load_or_store<false>;
    opcodes["st"] = load_or_store<true>;
    opcodes["cp"] = copy;
}

}  // namespace emulator::ptx
