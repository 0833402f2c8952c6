#include "text.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace emulator::ptx {

namespace {

const std::pair<const char*, Type> TYPES[] = {{"pred", Type::pred}, {"b8", Type::b8}, {"u8", Type::u8}, {"s8", Type::s8},
        {"b16", Type::b16}, {"u16", Type::u16}, {"s16", Type::s16}, {"b32", Type::b32}, {"u32", Type::u32}, {"s32", Type::s32},
        {"f32", Type::f32}, {"b64", Type::b64}, {"u64", Type::u64}, {"s64", Type::s64}, {"f64", Type::f64}};

bool part_of_name(char c) {
    return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}

// Words and signs of a statement.
class Words {
public:
    Words(const std::string& text, int line) : text_(text), line_(line) { skip(); }

    bool at_end() const { return at_ == text_.size(); }
    bool at(char sign) const { return at_ < text_.size() && text_[at_] == sign; }

    bool take(char sign) {
        if (!at(sign)) {
            return false;
        }
        at_++;
        skip();
        return true;
    }

    void expect(char sign) {
        if (!take(sign)) {
            fail(std::string("'") + sign + "' expected");
        }
    }

    // A name, a directive or a number.
    std::string word() {
        size_t start = at_;
        while (at_ < text_.size() && (part_of_name(text_[at_]) || (at_ == start && text_[at_] == '-'))) {
            at_++;
        }
        if (at_ == start) {
            fail("a name or a number expected");
        }
        std::string result = text_.substr(start, at_ - start);
        skip();
        return result;
    }

    std::string rest() const { return text_.substr(at_); }

    [[noreturn]] void fail(const std::string& why) const {
        throw Error("line " + std::to_string(line_) + " of the PTX: " + why + ": " + text_);
    }

private:
    void skip() {
        while (at_ < text_.size() && isspace(static_cast<unsigned char>(text_[at_]))) {
            at_++;
        }
    }

    const std::string& text_;
    int line_;
    size_t at_ = 0;
};

Operand number(Words& words, const std::string& word) {
    Operand operand{Operand::number, word, 0, false, 0, {}};
    bool is_float = word.size() > 2 && word[0] == '0' && strchr("fFdD", word[1]) != nullptr;
    const char* digits = word.c_str() + (is_float ? 2 : 0);
    char* end;
    operand.bits = word[0] == '-' ? uint64_t(strtoll(digits, &end, 0)) : strtoull(digits, &end, is_float ? 16 : 0);
    if (*end == 'U') {
        end++;
    }
    if (*end != 0) {
        words.fail("unknown number " + word);
    }
    return operand;
}

Operand operand(Words& words) {
    if (words.take('[')) {
        Operand result{Operand::memory, "", 0, false, 0, {operand(words)}};
        if (words.take('+')) {
            result.offset = int64_t(number(words, words.word()).bits);
        }
        words.expect(']');
        return result;
    }
    if (words.take('{')) {
        Operand result{Operand::list, "", 0, false, 0, {}};
        do {
            result.parts.push_back(operand(words));
        } while (words.take(','));
        words.expect('}');
        return result;
    }
    bool negated = words.take('!');
    std::string word = words.word();
    if (word == "_") {
        return {Operand::sink, word, 0, false, 0, {}};
    }
    if (isdigit(static_cast<unsigned char>(word[0])) || word[0] == '-') {
        return number(words, word);
    }
    Operand result{Operand::name, word, 0, negated, 0, {}};
    if (words.take('|')) {
        return {Operand::list, "", 0, false, 0, {result, operand(words)}};
    }
    return result;
}

std::vector<std::string> split(const std::string& word) {
    std::vector<std::string> parts;
    std::istringstream in(word);
    for (std::string part; std::getline(in, part, '.');) {
        parts.push_back(part);
    }
    return parts;
}

Instruction instruction(Words& words, int line, const std::string& text) {
    Instruction result;
    result.line = line;
    result.text = text;
    if (words.take('@')) {
        result.guard_negated = words.take('!');
        result.guard = words.word();
    }
    std::vector<std::string> parts = split(words.word());
    while (words.take(':') && words.take(':')) {
        // it joins the parts of one modifier
        std::vector<std::string> more = split(words.word());
        parts.back() += "::" + more[0];
        parts.insert(parts.end(), more.begin() + 1, more.end());
    }
    result.opcode = parts[0];
    result.modifiers.assign(parts.begin() + 1, parts.end());
    while (!words.at_end()) {
        result.operands.push_back(operand(words));
        if (!words.at_end()) {
            words.expect(',');
        }
    }
    return result;
}

// A variable's declaration behind its state space: alignment, type, name, length.
struct Declaration {
    std::string name;
    size_t alignment, bytes;
};

Declaration declaration(Words& words) {
    size_t alignment = 0;
    Type type = Type::pred;
    std::string word = words.word();
    for (; word[0] == '.'; word = words.word()) {
        if (word == ".align") {
            alignment = strtoul(words.word().c_str(), nullptr, 10);
        } else if (!type_of(word.substr(1), type)) {
            words.fail("unknown type or attribute " + word);
        }
    }
    size_t bytes = bytes_of(type);
    alignment = alignment == 0 ? bytes : alignment;
    if (words.take('[')) {
        bytes = words.at(']') ? 0 : bytes * strtoul(words.word().c_str(), nullptr, 10);
        words.expect(']');
    }
    return {word, alignment, bytes};
}

void place(std::map<std::string, Variable>& variables, size_t& total, const Declaration& declared) {
    size_t offset = (total + declared.alignment - 1) / declared.alignment * declared.alignment;
    variables[declared.name] = {offset, declared.bytes};
    total = offset + declared.bytes;
}

// Statements of a text, each with the line it starts on: up to a semicolon, a brace of a body, a colon, or the end of a directive's line.
class Reader {
public:
    explicit Reader(const std::string& text) : text_(text) {}

    ModuleText read() {
        while (next()) {
            top_level();
        }
        for (auto& entry : module_.entries) {
            name_shared(entry.second);
        }
        return std::move(module_);
    }

private:
    // The next statement into statement_, and what ended it into end_; false at the end of the text.
    bool next() {
        statement_.clear();
        int lists = 0;
        for (; at_ < text_.size(); at_++) {
            char c = text_[at_];
            if (text_.compare(at_, 2, "//") == 0) {
                at_ = std::min(text_.find('\n', at_), text_.size()) - 1;
                continue;
            }
            if (statement_.empty()) {
                if (isspace(static_cast<unsigned char>(c))) {
                    line_ += c == '\n';
                    continue;
                }
                first_line_ = line_;
            }
            bool brace_of_list = c == '{' && !statement_.empty() && statement_[0] != '.';
            lists += brace_of_list;
            if (c == '}' && lists > 0) {
                lists--;
                brace_of_list = true;
            }
            bool label = c == ':' && text_.compare(at_, 2, "::") != 0 && (at_ == 0 || text_[at_ - 1] != ':');
            bool line_ends = c == '\n' && statement_[0] == '.' && ends_with_line();
            if (c == ';' || label || line_ends || ((c == '{' || c == '}') && !brace_of_list)) {
                if ((c == '{' || c == '}') && !statement_.empty()) {
                    end_ = ' ';
                    return true;  // the brace is a statement of its own
                }
                at_++;
                line_ += c == '\n';
                end_ = c;
                return true;
            }
            line_ += c == '\n';
            statement_ += c == '\n' ? ' ' : c;
        }
        return !statement_.empty();
    }

    bool ends_with_line() const {
        for (const char* directive : {".version", ".target", ".address_size", ".maxntid", ".minnctapersm", ".reqntid", ".maxnreg"}) {
            if (statement_.rfind(directive, 0) == 0) {
                return true;
            }
        }
        return false;
    }

    void top_level() {
        if (statement_.empty()) {
            return;
        }
        Words words(statement_, first_line_);
        std::string word = words.word();
        while (word == ".visible" || word == ".extern" || word == ".weak") {
            word = words.word();
        }
        if (word == ".version") {
            module_.version = words.rest();
        } else if (word == ".target") {
            module_.target = words.rest();
        } else if (word == ".address_size") {
            return;
        } else if (word == ".shared") {
            Declaration declared = declaration(words);
            shared_[declared.name] = declared;
        } else if (word == ".entry") {
            entry(words);
        } else {
            words.fail("unknown directive " + word);
        }
    }

    void entry(Words& words) {
        EntryText entry;
        entry.name = words.word();
        if (words.take('(')) {
            while (!words.take(')')) {
                std::string space = words.word();
                if (space != ".param") {
                    words.fail(".param expected");
                }
                Declaration declared = declaration(words);
                place(entry.parameters, entry.parameter_bytes, declared);
                entry.parameter_sizes.push_back(unsigned(declared.bytes));
                words.take(',');
            }
        }
        int depth = 0;
        while (next()) {
            if (statement_.empty() && end_ == '{') {
                depth++;
            } else if (statement_.empty() && end_ == '}') {
                if (--depth == 0) {
                    module_.entries[entry.name] = std::move(entry);
                    return;
                }
            } else if (depth > 0 && !statement_.empty()) {
                body(entry);
            }
        }
        throw Error("entry " + entry.name + " of the PTX does not end");
    }

    void body(EntryText& entry) {
        Words words(statement_, first_line_);
        if (end_ == ':') {
            entry.labels[words.word()] = entry.instructions.size();
            return;
        }
        if (statement_[0] != '.') {
            entry.instructions.push_back(instruction(words, first_line_, statement_));
            return;
        }
        std::string word = words.word();
        if (word == ".reg") {
            registers(entry, words);
        } else if (word == ".shared") {
            place(entry.shared, entry.shared_bytes, declaration(words));
        } else if (word == ".local") {
            place(entry.local, entry.local_bytes, declaration(words));
        } else if (word != ".pragma" && word != ".loc") {
            words.fail("unknown directive " + word);
        }
    }

    // Registers of inner braces count as the entry's: nvcc gives them names of their own.
    static void registers(EntryText& entry, Words& words) {
        std::string word = words.word();
        Type type;
        if (!type_of(word.substr(1), type)) {
            words.fail("unknown type of registers");
        }
        do {
            std::string name = words.word();
            if (words.take('<')) {
                size_t count = strtoul(words.word().c_str(), nullptr, 10);
                words.expect('>');
                for (size_t i = 0; i < count; i++) {
                    entry.registers[name + std::to_string(i)] = type;
                }
            } else {
                entry.registers[name] = type;
            }
        } while (words.take(','));
    }

    // Gives the module's shared variables that an entry names a place in it; the one without a size comes last.
    void name_shared(EntryText& entry) {
        std::map<std::string, bool> named;
        for (const Instruction& each : entry.instructions) {
            for (const Operand& operand : each.operands) {
                const Operand& inner = operand.kind == Operand::memory ? operand.parts[0] : operand;
                if (inner.kind == Operand::name && shared_.count(inner.text)) {
                    named[inner.text] = true;
                }
            }
        }
        for (const auto& name : named) {
            if (shared_.at(name.first).bytes > 0) {
                place(entry.shared, entry.shared_bytes, shared_.at(name.first));
            }
        }
        for (const auto& name : named) {
            const Declaration& declared = shared_.at(name.first);
            if (declared.bytes == 0) {
                entry.dynamic_shared = declared.name;
                entry.shared_bytes = (entry.shared_bytes + declared.alignment - 1) / declared.alignment * declared.alignment;
                entry.shared[declared.name] = {entry.shared_bytes, 0};
            }
        }
    }

    const std::string& text_;
    size_t at_ = 0;
    int line_ = 1, first_line_ = 1;
    char end_ = 0;
    std::string statement_;
    ModuleText module_;
    std::map<std::string, Declaration> shared_;
};

}  // namespace

bool type_of(const std::string& word, Type& type) {
    for (const auto& known : TYPES) {
        if (word == known.first) {
            type = known.second;
            return true;
        }
    }
    return false;
}

unsigned bytes_of(Type type) {
    return type == Type::pred ? 0 : type <= Type::s8 ? 1 : type <= Type::s16 ? 2 : type <= Type::f32 ? 4 : 8;
}

ModuleText read(const std::string& ptx) {
    return Reader(ptx).read();
}

}  // namespace emulator::ptx
