#include "guard.h"
#include "fibers.h"

namespace emulator {

namespace {
std::vector<Piece> live;
}

void guard_launch(std::vector<Piece> pieces) {
    live = std::move(pieces);
}

void check_atomic(const void*, unsigned) {
}

}  // namespace emulator
