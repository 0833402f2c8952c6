// An entry as it is run: operations on whole warps. A register is a row of 32 numbers, one a lane, in the warp's register file.
#pragma once

#include "text.h"

#include <memory>

namespace emulator::ptx {

constexpr unsigned LANES = 32;
constexpr uint32_t ALL_LANES = ~0u;

// Where addresses of a space begin that a generic address holds; addresses of the host lie below.
constexpr uint64_t SHARED_WINDOW = uint64_t(1) << 60, LOCAL_WINDOW = uint64_t(1) << 61, WINDOW_BYTES = uint64_t(1) << 32;

struct Warp;
struct Operation;
using Handler = void (*)(Warp&, const Operation&);

// `full` runs when all lanes take part, `masked` always may.
struct Handlers {
    Handler full, masked;
};

enum class Kind : uint8_t {
    plain,      // every lane by itself
    start,      // of a stretch that something branches to
    branch,     // to `target`
    exit,
    barrier,    // of the block
    together,   // of the lanes that a mask names
    aligned     // of the whole warp, which may not be divided
};

// What of a multiprocessor an operation occupies.
enum class Pipe : uint8_t { integer, float32, float64, conversion, special, tensor, memory, shuffle, move, control, COUNT };

// What the threads of a block find out together at a barrier.
enum class BarrierVote : uint8_t { none, popc, all, any };

enum class Space : uint8_t { global, shared, local, parameter, generic };

// How an operation touches memory, for counting.
struct Access {
    Space space;
    unsigned bytes;            // a lane; 0: it does not touch memory
    bool writes, asynchronous, atomic;
    bool wide;                 // addresses have 64 bits
};

struct Operation {
    Handlers run;
    const uint32_t* at;        // places of its operands in the register file: results first
    int64_t number;            // offset of an address, or whatever the handler wants
    uint32_t guard;            // place of the predicate, or NO_GUARD
    uint32_t target;
    bool guard_negated;
    Kind kind;
    Pipe pipe;
    Access access;
    uint8_t address;           // index of the operand that holds the address
    uint8_t detail;            // which of several things the handler does
    int line;
};
constexpr uint32_t NO_GUARD = ~0u;

// What is the same for all lanes, or follows from their indices; filled in before a block starts.
enum Special : unsigned {
    tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z, ctaid_x, ctaid_y, ctaid_z, nctaid_x, nctaid_y, nctaid_z, laneid, warpid, nwarpid,
    lanemask_eq, lanemask_lt, lanemask_le, lanemask_gt, lanemask_ge, SPECIALS
};
extern const char* const SPECIAL_NAMES[SPECIALS];

struct Code {
    std::string name;
    std::vector<unsigned> parameter_sizes;
    std::vector<size_t> parameter_offsets;
    size_t parameter_bytes, shared_bytes, local_bytes;
    std::vector<Operation> operations;
    std::vector<uint32_t> operands;             // what Operation::at points into
    std::vector<std::string> texts;             // of each operation
    mutable std::vector<uint8_t> executed;      // whether it ever was, while launches were counted
    uint32_t special[SPECIALS];                 // places of the special registers' rows; 0: not used
    std::vector<unsigned char> fixed;           // the first bytes of a register file: constants and special registers
    uint32_t register_bytes;                    // of a warp's register file
};

struct Module {
    std::map<std::string, Code> entries;
};

// Understands a text; throws Error for what it does not know.
Module build(const ModuleText& text);

}  // namespace emulator::ptx
