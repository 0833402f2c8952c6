// Branches and ends.
#include "builder.h"
#include "warp.h"

#include "../api.h"

namespace emulator::ptx {

void add_control(Opcodes& opcodes) {
    opcodes["bra"] = [](Builder& builder, Modifiers& modifiers) {
        modifiers.take("uni");
        if (builder.operands() != 1 || builder.operand(0).kind != Operand::name) {
            builder.unknown();
        }
        Draft& draft = builder.add(both(nullptr), Pipe::control, {}, 0);
        draft.operation.kind = Kind::branch;
        draft.label = builder.operand(0).text;
    };
    opcodes["ret"] = opcodes["exit"] = [](Builder& builder, Modifiers& modifiers) {
        modifiers.take("uni");
        builder.add(both(nullptr), Pipe::control, {}, 0).operation.kind = Kind::exit;
    };
    opcodes["trap"] = [](Builder& builder, Modifiers&) {
        builder.add(both([](Warp& warp, const Operation& operation) {
            stop(warp, operation, unsigned(__builtin_ctz(warp.active)), CUDA_ERROR_ASSERT, "trap");
        }), Pipe::control, {}, 0);
    };
}

}  // namespace emulator::ptx
