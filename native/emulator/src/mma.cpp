// mma.m16n8k32 of int8: a whole warp's products, done at once by the lane that comes last.
#include "fibers.h"

#include <cstring>

namespace emulator {

namespace {

constexpr int ROWS = 16, COLUMNS = 8, DEPTH = 32, MOST_FRAGMENTS = 8;

// What a lane brings: fragments of A one below the other, of B side by side, of D for each pair.
struct Fragments {
    int (*d)[4];
    const unsigned (*a)[4];
    const unsigned (*b)[2];
    int rows, columns;
};

// Rows of A times rows of B.
__attribute__((optimize("O3")))
void multiply(const int16_t (*a)[DEPTH], const int16_t (*b)[DEPTH], int (&d)[ROWS][COLUMNS]) {
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

__attribute__((optimize("O3")))
void widen(const unsigned (*words)[DEPTH / 4], int rows, int16_t (*wide)[DEPTH]) {
    for (int i = 0; i < rows; i++) {
        int8_t codes[DEPTH];
        memcpy(codes, words[i], DEPTH);
        for (int k = 0; k < DEPTH; k++) {
            wide[i][k] = codes[k];
        }
    }
}

// Sums wrap around, as the instruction's do.
int add(int a, int b) {
    return int(unsigned(a) + unsigned(b));
}

// PTX ISA, "Matrix fragments for mma.m16n8k32": lane = 4 group + member; a word of A or B holds four neighbours in k.
__attribute__((optimize("O3")))
void do_mma(void** operands, unsigned lanes) {
    if (lanes != ~0u) {
        BlockRunner::current()->stop(719, "mma needs all 32 lanes of the warp; some have exited");
    }
    const int rows = static_cast<Fragments*>(operands[0])->rows, columns = static_cast<Fragments*>(operands[0])->columns;
    unsigned a_words[MOST_FRAGMENTS * ROWS][DEPTH / 4], b_words[MOST_FRAGMENTS * COLUMNS][DEPTH / 4];
    for (int lane = 0; lane < 32; lane++) {
        const auto* own = static_cast<const Fragments*>(operands[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int i = 0; i < rows; i++) {
            unsigned(*upper)[DEPTH / 4] = &a_words[ROWS * i + group], (*lower)[DEPTH / 4] = upper + 8;
            (*upper)[member] = own->a[i][0];
            (*lower)[member] = own->a[i][1];
            (*upper)[member + 4] = own->a[i][2];
            (*lower)[member + 4] = own->a[i][3];
        }
        for (int j = 0; j < columns; j++) {
            b_words[COLUMNS * j + group][member] = own->b[j][0];
            b_words[COLUMNS * j + group][member + 4] = own->b[j][1];
        }
    }
    int16_t a[MOST_FRAGMENTS * ROWS][DEPTH], b[MOST_FRAGMENTS * COLUMNS][DEPTH];
    widen(a_words, rows * ROWS, a);
    widen(b_words, columns * COLUMNS, b);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            int product[ROWS][COLUMNS];
            multiply(a + ROWS * i, b + COLUMNS * j, product);
            for (int lane = 0; lane < 32; lane++) {
                int* d = static_cast<const Fragments*>(operands[lane])->d[i * columns + j];
                const int *upper = &product[lane / 4][lane % 4 * 2], *lower = upper + 8 * COLUMNS;
                d[0] = add(d[0], upper[0]);
                d[1] = add(d[1], upper[1]);
                d[2] = add(d[2], lower[0]);
                d[3] = add(d[3], lower[1]);
            }
        }
    }
}

}  // namespace

void mma_m16n8k32_s8(int (*d)[4], const unsigned (*a)[4], const unsigned (*b)[2], int rows, int columns, int line) {
    if (rows > MOST_FRAGMENTS || columns > MOST_FRAGMENTS) {
        BlockRunner::current()->stop(719, "more than 8 x 8 fragments in one product");
    }
    Fragments own{d, a, b, rows, columns};
    BlockRunner::current()->gather(~0u, do_mma, &own, line);
}

}  // namespace emulator
