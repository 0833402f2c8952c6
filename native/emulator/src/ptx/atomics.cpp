// atom, red, fences. Atomic operations are ordered among themselves, so they are no races.
#include "memory.h"

#include <algorithm>
#include <cstring>

namespace emulator::ptx {

namespace {

enum class Update { add, min, max, bit_and, bit_or, bit_xor, exchange, compare };
constexpr std::pair<const char*, Update> UPDATES[] = {{"add", Update::add}, {"min", Update::min}, {"max", Update::max},
        {"and", Update::bit_and}, {"or", Update::bit_or}, {"xor", Update::bit_xor}, {"exch", Update::exchange}, {"cas", Update::compare}};

template <class T> T updated(Update how, T old, T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        switch (how) {
            case Update::bit_and: return old & a;
            case Update::bit_or: return old | a;
            case Update::bit_xor: return old ^ a;
            case Update::add: return T(std::make_unsigned_t<T>(old) + std::make_unsigned_t<T>(a));
            default: break;
        }
    }
    return how == Update::add ? old + a : how == Update::min ? std::min(old, a) : how == Update::max ? std::max(old, a)
            : how == Update::exchange ? a : old == a ? b : old;
}

// The old value, the address, one or two operands.
template <class T> void atomic(Warp& warp, const Operation& operation) {
    using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    auto how = Update(operation.detail);
    Pointers pointers;
    locate(warp, operation, operation.access.space, sizeof(T), true, pointers);
    T *d = warp.row<T>(operation.at[0]), *a = warp.row<T>(operation.at[2]), *b = warp.row<T>(operation.at[3]);
    for (uint32_t left = warp.active; left != 0; left &= left - 1) {
        unsigned lane = unsigned(__builtin_ctz(left));
        auto* word = reinterpret_cast<Word*>(pointers[lane]);
        Word before = __atomic_load_n(word, __ATOMIC_RELAXED);
        T old;
        Word after;
        do {
            memcpy(&old, &before, sizeof old);
            T next = updated(how, old, a[lane], b[lane]);
            memcpy(&after, &next, sizeof after);
        } while (!__atomic_compare_exchange_n(word, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
        d[lane] = old;
    }
}

Handler of_type(Type type, Update how) {
    bool bits = how == Update::bit_and || how == Update::bit_or || how == Update::bit_xor || how == Update::exchange || how == Update::compare;
    switch (type) {
        case Type::s32: return atomic<int32_t>;
        case Type::u32: return atomic<uint32_t>;
        case Type::b32: return bits ? atomic<uint32_t> : nullptr;
        case Type::s64: return atomic<int64_t>;
        case Type::u64: return atomic<uint64_t>;
        case Type::b64: return bits ? atomic<uint64_t> : nullptr;
        case Type::f32: return how == Update::add ? atomic<float> : nullptr;
        case Type::f64: return how == Update::add ? atomic<double> : nullptr;
        default: return nullptr;
    }
}

template <bool ANSWERS> void add_atomic(Builder& builder, Modifiers& modifiers) {
    take_hints(modifiers);
    Space space = take_space(modifiers);
    Update how = Update::add;
    bool named = false;
    for (const auto& update : UPDATES) {
        if (!named && modifiers.take(update.first)) {
            how = update.second;
            named = true;
        }
    }
    Type type = modifiers.type(builder.instruction()), address_type;
    Handler run = of_type(type, how);
    size_t first = ANSWERS ? 1 : 0, wanted = first + (how == Update::compare ? 3 : 2);
    if (!named || run == nullptr || builder.operands() != wanted) {
        builder.unknown();
    }
    const Operand& memory = builder.operand(first);
    Value a = builder.value(builder.operand(first + 1), type);
    Value b = how == Update::compare ? builder.value(builder.operand(first + 2), type) : a;
    Value d = ANSWERS ? builder.result(builder.operand(0), type) : builder.unused(type);
    Operation& operation = builder.add(both(run), Pipe::memory, {d, builder.address(memory, space, address_type), a, b}).operation;
    operation.number = memory.offset;
    operation.address = 1;
    operation.detail = uint8_t(how);
    operation.access = {space, bytes_of(type), true, false, true, bytes_of(address_type) == 8};
}

void fence(Builder& builder, Modifiers& modifiers) {
    take_hints(modifiers);
    modifiers.take("sc");
    modifiers.take("gl");
    builder.add(both([](Warp&, const Operation&) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }), Pipe::memory, {}, 0);
}

}  // namespace

void add_atomics(Opcodes& opcodes) {
    opcodes["atom"] = add_atomic<true>;
    opcodes["red"] = add_atomic<false>;
    opcodes["membar"] = fence;
    opcodes["fence"] = fence;
}

}  // namespace emulator::ptx
