#include "builder.h"
#include "warp.h"

#include <algorithm>
#include <cstring>

namespace emulator::ptx {

const char* const SPECIAL_NAMES[SPECIALS] = {"%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y",
        "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid", "%warpid", "%nwarpid", "%lanemask_eq", "%lanemask_lt",
        "%lanemask_le", "%lanemask_gt", "%lanemask_ge"};

namespace {

constexpr uint32_t ROW_BYTES[] = {4, 4 * LANES, 8 * LANES};  // of each class of values

Value::Class class_of(Type type) {
    return type == Type::pred ? Value::predicate : bytes_of(type) == 8 ? Value::wide : Value::word;
}

const Opcodes& opcodes() {
    static const Opcodes all = [] {
        Opcodes opcodes;
        add_integers(opcodes);
        add_floats(opcodes);
        add_conversions(opcodes);
        add_comparisons(opcodes);
        add_moves(opcodes);
        add_memory(opcodes);
        add_atomics(opcodes);
        add_warp(opcodes);
        add_mma(opcodes);
        add_control(opcodes);
        return opcodes;
    }();
    return all;
}

}  // namespace

bool Modifiers::take(const std::string& word) {
    auto found = std::find(left_.begin(), left_.end(), word);
    if (found == left_.end()) {
        return false;
    }
    left_.erase(found);
    return true;
}

std::string Modifiers::take_one(std::initializer_list<const char*> words) {
    for (const char* word : words) {
        if (take(word)) {
            return word;
        }
    }
    return "";
}

// Types are taken from the front: a result's type stands before its source's.
bool Modifiers::take_type(Type& type) {
    for (auto word = left_.begin(); word != left_.end(); ++word) {
        if (type_of(*word, type)) {
            left_.erase(word);
            return true;
        }
    }
    return false;
}

Type Modifiers::type(const Instruction& instruction) {
    Type type;
    if (!take_type(type)) {
        throw Error("line " + std::to_string(instruction.line) + " of the PTX: unknown instruction: " + instruction.text);
    }
    return type;
}

Builder::Builder(const EntryText& text) : text_(text) {
    for (const auto& declared : text.registers) {
        Value::Class kind = class_of(declared.second);
        registers_[declared.first] = {kind, counts_[kind]++, false};
    }
}

void Builder::unknown() const {
    throw Error("line " + std::to_string(instruction_->line) + " of the PTX, entry " + text_.name + ": unknown instruction: "
            + instruction_->text);
}

const Operand& Builder::operand(size_t i) const {
    if (i >= instruction_->operands.size()) {
        unknown();
    }
    return instruction_->operands[i];
}

bool Builder::declared(const Operand& operand, Type& type) const {
    auto found = text_.registers.find(operand.text);
    if (operand.kind != Operand::name || found == text_.registers.end()) {
        return false;
    }
    type = found->second;
    return true;
}

Value Builder::unused(Type type) {
    Value::Class kind = class_of(type);
    return {kind, counts_[kind]++, false};
}

Value Builder::result(const Operand& operand, Type type) {
    if (is_sink(operand)) {
        return unused(type);
    }
    auto found = registers_.find(operand.text);
    if (operand.kind != Operand::name || operand.negated || found == registers_.end() || found->second.kind != class_of(type)) {
        unknown();
    }
    return found->second;
}

Value Builder::fixed(const std::vector<unsigned char>& row, Value::Class kind) {
    fixed_.emplace_back(kind, row);
    return {kind, uint32_t(fixed_.size() - 1), true};
}

Value Builder::constant(uint64_t bits, Type type) {
    Value::Class kind = class_of(type);
    if (kind == Value::predicate) {
        bits = bits != 0 ? ALL_LANES : 0;
    }
    auto known = constants_.find({kind, bits});
    if (known != constants_.end()) {
        return known->second;
    }
    size_t bytes = kind == Value::wide ? 8 : 4;
    std::vector<unsigned char> row(ROW_BYTES[kind]);
    for (size_t at = 0; at < row.size(); at += bytes) {
        memcpy(&row[at], &bits, bytes);
    }
    return constants_[{kind, bits}] = fixed(row, kind);
}

Value Builder::value(const Operand& operand, Type type) {
    if (operand.kind == Operand::number) {
        bool wide_float = operand.text.rfind("0d", 0) == 0 || operand.text.rfind("0D", 0) == 0;
        if ((type == Type::f32 && wide_float) || (type == Type::f64 && !wide_float)) {
            unknown();
        }
        return constant(operand.bits, type);
    }
    if (operand.kind != Operand::name) {
        unknown();
    }
    for (unsigned i = 0; i < SPECIALS; i++) {
        if (operand.text == SPECIAL_NAMES[i]) {
            if (!specials_.count(i)) {
                specials_[i] = fixed(std::vector<unsigned char>(ROW_BYTES[Value::word]), Value::word);
            }
            return specials_[i];
        }
    }
    if (operand.text == "WARP_SZ") {
        return constant(LANES, type);
    }
    for (const auto* variables : {&text_.parameters, &text_.shared, &text_.local}) {
        auto variable = variables->find(operand.text);
        if (variable != variables->end()) {
            return constant(variable->second.offset, type);
        }
    }
    return result(operand, type);
}

Value Builder::predicate(const Operand& operand) {
    if (!operand.negated) {
        return value(operand, Type::pred);
    }
    Operand plain = operand;
    plain.negated = false;
    Value negative = unused(Type::pred);
    add(negation(), Pipe::integer, {negative, value(plain, Type::pred)});
    return negative;
}

Value Builder::address(const Operand& memory, Space space, Type& type) {
    if (memory.kind != Operand::memory) {
        unknown();
    }
    const Operand& base = memory.parts[0];
    if (!declared(base, type)) {
        type = space == Space::shared ? Type::u32 : Type::u64;
    }
    return value(base, type);
}

Draft& Builder::add(Handlers run, Pipe pipe, std::vector<Value> values, unsigned results) {
    Draft draft{};
    draft.operation.run = run;
    draft.operation.pipe = pipe;
    draft.operation.kind = Kind::plain;
    draft.operation.line = instruction_ != nullptr ? instruction_->line : 0;
    draft.text = instruction_ != nullptr ? instruction_->text : "";
    draft.values = std::move(values);
    draft.results = results;
    if (instruction_ != nullptr && !instruction_->guard.empty()) {
        Type type;
        Operand guard{Operand::name, instruction_->guard, 0, false, 0, {}};
        if (!declared(guard, type) || type != Type::pred) {
            unknown();
        }
        draft.guard = value(guard, Type::pred);
        draft.guarded = true;
        draft.operation.guard_negated = instruction_->guard_negated;
    }
    drafts_.push_back(std::move(draft));
    return drafts_.back();
}

Draft& Builder::simple(Handlers run, Pipe pipe, Type type, size_t sources) {
    if (operands() != sources + 1) {
        unknown();
    }
    std::vector<Value> values = {result(operand(0), type)};
    for (size_t i = 1; i <= sources; i++) {
        values.push_back(value(operand(i), type));
    }
    return add(run, pipe, std::move(values));
}

// Rows in the order constants and special registers, then words, then wide ones, then predicates; operations point to them.
Code placed(Builder& builder) {
    const EntryText& text = builder.text_;
    Code code{};
    code.name = text.name;
    code.parameter_sizes = text.parameter_sizes;
    code.parameter_bytes = text.parameter_bytes;
    for (const auto& parameter : text.parameters) {
        code.parameter_offsets.push_back(parameter.second.offset);
    }
    std::sort(code.parameter_offsets.begin(), code.parameter_offsets.end());
    code.shared_bytes = text.shared_bytes;
    code.local_bytes = (text.local_bytes + 15) / 16 * 16;

    // place 0 stays free: it says that a special register is not used
    code.fixed.resize(64);
    std::vector<uint32_t> fixed_places;
    for (const auto& row : builder.fixed_) {
        code.fixed.resize((code.fixed.size() + 63) / 64 * 64);
        fixed_places.push_back(uint32_t(code.fixed.size()));
        code.fixed.insert(code.fixed.end(), row.second.begin(), row.second.end());
    }
    for (const auto& special : builder.specials_) {
        code.special[special.first] = fixed_places[special.second.number];
    }
    Placement placement = place_registers(builder.drafts_, builder.labels_, builder.counts_);
    uint32_t start[3], next = uint32_t((code.fixed.size() + 63) / 64 * 64);
    for (int kind : {Value::word, Value::wide, Value::predicate}) {
        start[kind] = next;
        next += ROW_BYTES[kind] * placement.count[kind];
    }
    code.register_bytes = (next + 63) / 64 * 64;
    auto place = [&](const Value& value) {
        return value.fixed ? fixed_places[value.number]
                : start[value.kind] + ROW_BYTES[value.kind] * placement.place[value.kind][value.number];
    };

    std::vector<size_t> first;
    for (const Draft& draft : builder.drafts_) {
        first.push_back(code.operands.size());
        for (const Value& value : draft.values) {
            code.operands.push_back(place(value));
        }
    }
    for (size_t i = 0; i < builder.drafts_.size(); i++) {
        const Draft& draft = builder.drafts_[i];
        Operation operation = draft.operation;
        operation.at = code.operands.data() + first[i];
        operation.guard = draft.guarded ? place(draft.guard) : NO_GUARD;
        operation.target = draft.label.empty() ? 0 : builder.labels_.at(draft.label);
        code.operations.push_back(operation);
        code.texts.push_back(draft.text);
        code.executed.push_back(0);
    }
    return code;
}

Code Builder::build() {
    std::multimap<size_t, std::string> labels;
    for (const auto& label : text_.labels) {
        labels.emplace(label.second, label.first);
    }
    bool start = false;
    auto begin_stretch = [&](size_t i) {
        auto here = labels.equal_range(i);
        if (start || here.first != here.second) {
            instruction_ = nullptr;
            Draft& draft = add(both(nullptr), Pipe::control, {}, 0);
            draft.operation.kind = Kind::start;
        }
        for (auto label = here.first; label != here.second; ++label) {
            labels_[label->second] = uint32_t(drafts_.size() - 1);
        }
        start = false;
    };
    for (size_t i = 0; i < text_.instructions.size(); i++) {
        begin_stretch(i);
        instruction_ = &text_.instructions[i];
        auto known = opcodes().find(instruction_->opcode);
        if (known == opcodes().end()) {
            unknown();
        }
        Modifiers modifiers(*instruction_);
        known->second(*this, modifiers);
        if (!modifiers.empty()) {
            unknown();
        }
        start = drafts_.back().operation.kind == Kind::branch || drafts_.back().operation.kind == Kind::exit;
    }
    begin_stretch(text_.instructions.size());
    instruction_ = nullptr;
    add(both(nullptr), Pipe::control, {}, 0).operation.kind = Kind::exit;
    for (const Draft& draft : drafts_) {
        if (!draft.label.empty() && !labels_.count(draft.label)) {
            throw Error("entry " + text_.name + " of the PTX has no label " + draft.label);
        }
    }
    return placed(*this);
}

Module build(const ModuleText& text) {
    Module module;
    for (const auto& entry : text.entries) {
        module.entries[entry.first] = Builder(entry.second).build();
    }
    return module;
}

}  // namespace emulator::ptx
