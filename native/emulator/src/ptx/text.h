// PTX as text: its entries, what they declare, and their instructions taken apart but not yet understood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator::ptx {

// What cannot be read or is not known; the message names line and instruction.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class Type : uint8_t { pred, b8, u8, s8, b16, u16, s16, b32, u32, s32, f32, b64, u64, s64, f64 };

// The type that a modifier such as "u32" names; false if it names none.
bool type_of(const std::string& word, Type& type);
unsigned bytes_of(Type type);  // 0 for a predicate

struct Operand {
    enum Kind { name, number, memory, list, sink } kind;
    std::string text;                  // name: of a register, a variable, a label or a special register
    uint64_t bits = 0;                 // number: as an integer, or the bits of a float
    bool negated = false;              // a predicate taken the other way round
    int64_t offset = 0;                // memory: [parts[0] + offset]
    std::vector<Operand> parts;        // list: {a, b}, or a|b
};

struct Instruction {
    std::string opcode;                  // up to the first dot
    std::vector<std::string> modifiers;  // what follows, dot by dot
    std::vector<Operand> operands;
    std::string guard;                   // the predicate that it depends on, or empty
    bool guard_negated = false;
    int line;
    std::string text;
};

struct Variable {
    size_t offset, bytes;
};

struct EntryText {
    std::string name;
    std::vector<unsigned> parameter_sizes;
    std::map<std::string, Variable> parameters, shared, local;
    size_t parameter_bytes = 0, shared_bytes = 0, local_bytes = 0;
    std::string dynamic_shared;  // the array whose size the launch gives, if the entry names it
    std::map<std::string, Type> registers;
    std::vector<Instruction> instructions;
    std::map<std::string, size_t> labels;  // index of the instruction that follows
};

struct ModuleText {
    std::string version, target;
    std::map<std::string, EntryText> entries;
};

// Throws Error.
ModuleText read(const std::string& ptx);

}  // namespace emulator::ptx
