// Turns one instruction after the other into operations. Each family of instructions adds what it knows to a table of opcodes.
#pragma once

#include "code.h"

#include <functional>
#include <set>

namespace emulator::ptx {

struct Value {
    enum Class : uint8_t { predicate, word, wide } kind;  // a bit, 32 or 64 bits a lane
    uint32_t number;                                      // of a register or of a fixed row
    bool fixed;
};

// An operation whose operands are not placed yet.
struct Draft {
    Operation operation;
    std::vector<Value> values;
    unsigned results;          // how many of them are written
    std::vector<bool> read;    // results that are also read
    Value guard;
    bool guarded;
    std::string label;         // that it branches to
    std::string text;
};

// The modifiers of an instruction, taken one by one; what is left at the end is unknown.
class Modifiers {
public:
    explicit Modifiers(const Instruction& instruction) : left_(instruction.modifiers) {}

    bool take(const std::string& word);
    // The first of several that is there, else an empty one.
    std::string take_one(std::initializer_list<const char*> words);
    bool take_type(Type& type);
    Type type(const Instruction& instruction);
    bool empty() const { return left_.empty(); }

private:
    std::vector<std::string> left_;
};

class Builder {
public:
    explicit Builder(const EntryText& text);

    Code build();

    // --- for the families
    [[noreturn]] void unknown() const;
    const Instruction& instruction() const { return *instruction_; }
    const Operand& operand(size_t i) const;
    size_t operands() const { return instruction_->operands.size(); }
    // A register that is written, a value that is read; of a type's size.
    Value result(const Operand& operand, Type type);
    Value value(const Operand& operand, Type type);
    // A predicate that is read; negated ones get an operation of their own.
    Value predicate(const Operand& operand);
    Value constant(uint64_t bits, Type type);
    // The type that a register was declared with; false for other operands.
    bool declared(const Operand& operand, Type& type) const;
    bool is_sink(const Operand& operand) const { return operand.kind == Operand::sink; }
    Value unused(Type type);
    // The base of an address: a register, or a variable's address.
    Value address(const Operand& memory, Space space, Type& type);

    // Adds an operation that writes the first `results` of the values.
    Draft& add(Handlers run, Pipe pipe, std::vector<Value> values, unsigned results = 1);
    // d = run(a, b, ...) of one type.
    Draft& simple(Handlers run, Pipe pipe, Type type, size_t sources);

private:
    friend Code placed(Builder&);

    Value fixed(const std::vector<unsigned char>& row, Value::Class kind);

    const EntryText& text_;
    const Instruction* instruction_ = nullptr;
    std::map<std::string, Value> registers_;
    uint32_t counts_[3] = {};                    // registers of each class
    std::vector<Draft> drafts_;
    std::vector<std::pair<Value::Class, std::vector<unsigned char>>> fixed_;
    std::map<std::pair<Value::Class, uint64_t>, Value> constants_;
    std::map<unsigned, Value> specials_;
    std::map<std::string, uint32_t> labels_;     // index of a draft
};

using Family = std::function<void(Builder&, Modifiers&)>;
using Opcodes = std::map<std::string, Family>;
// d = not a, of predicates.
Handlers negation();

void add_integers(Opcodes& opcodes);
void add_floats(Opcodes& opcodes);
void add_conversions(Opcodes& opcodes);
void add_comparisons(Opcodes& opcodes);
void add_moves(Opcodes& opcodes);
void add_memory(Opcodes& opcodes);
void add_atomics(Opcodes& opcodes);
void add_warp(Opcodes& opcodes);
void add_mma(Opcodes& opcodes);
void add_control(Opcodes& opcodes);

// Which registers may share a place: for each register of a class a number from 0 on, as few as come out.
struct Placement {
    std::vector<uint32_t> place[3];
    uint32_t count[3];
};
Placement place_registers(const std::vector<Draft>& drafts, const std::map<std::string, uint32_t>& labels, const uint32_t (&counts)[3]);

}  // namespace emulator::ptx
