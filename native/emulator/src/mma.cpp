// mma.m16n8k32 of int8: the whole warp's product, done by the lane that comes last.
#include "fibers.h"

#include <cstring>

namespace emulator {

namespace {

struct Fragments {
    const unsigned* a;
    const unsigned* b;
    const int* c;
    int* d;
};

constexpr int ROWS = 16, COLUMNS = 8, DEPTH = 32;

__attribute__((optimize("O3")))
void multiply(const int16_t (&a)[ROWS][DEPTH], const int16_t (&b)[COLUMNS][DEPTH], int (&d)[ROWS][COLUMNS]) {
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            int sum = 0;
            for (int k = 0; k < DEPTH; k++) {
                sum += int(a[i][k]) * int(b[j][k]);
            }
            d[i][j] = sum;
        }
    }
}

void widen(int16_t* to, unsigned word) {
    for (int i = 0; i < 4; i++) {
        to[i] = static_cast<int8_t>(word >> 8 * i);
    }
}

// PTX ISA, "Matrix fragments for mma.m16n8k32": lane = 4 group + member; a word of A holds four neighbours in k.
void do_mma(void** operands, unsigned lanes) {
    if (lanes != ~0u) {
        BlockRunner::current()->stop(719, "mma needs all 32 lanes of the warp; some have exited");
    }
    int16_t a[ROWS][DEPTH], b[COLUMNS][DEPTH];
    int product[ROWS][COLUMNS];
    for (int lane = 0; lane < 32; lane++) {
        const auto* own = static_cast<const Fragments*>(operands[lane]);
        int group = lane / 4, k = lane % 4 * 4;
        widen(&a[group][k], own->a[0]);
        widen(&a[group + 8][k], own->a[1]);
        widen(&a[group][k + 16], own->a[2]);
        widen(&a[group + 8][k + 16], own->a[3]);
        widen(&b[group][k], own->b[0]);
        widen(&b[group][k + 16], own->b[1]);
    }
    multiply(a, b, product);
    for (int lane = 0; lane < 32; lane++) {
        const auto* own = static_cast<const Fragments*>(operands[lane]);
        int row = lane / 4, column = lane % 4 * 2;
        int d[4] = {product[row][column], product[row][column + 1], product[row + 8][column], product[row + 8][column + 1]};
        for (int i = 0; i < 4; i++) {
            own->d[i] = int(unsigned(own->c[i]) + unsigned(d[i]));
        }
    }
}

}  // namespace

void mma_m16n8k32_s8(int d[4], const unsigned a[4], const unsigned b[2], const int c[4], int line) {
    Fragments own{a, b, c, d};
    BlockRunner* runner = BlockRunner::current();
    runner->gather(~0u, do_mma, &own, line);
}

}  // namespace emulator
