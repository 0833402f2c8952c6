// Scoring candidates for a scale: what its kernels share. Of each candidate the loss
//   sum of w (O - O^)^2, or of |O - O^|, or over rows of 1 - similarity,
//   with O^ = sum over ranges of L_r R step(L, r) step(R) + bias
// is wanted, per group of heads or columns; O^ itself is never written to memory.
//
// O [batch, n, m] is cut into row blocks (at most SIDE rows of one product of the batch, a table that the host makes) and
// column parts of equal width, each cut into tiles of SIDE columns; a tile lies in one row block and one part, so that one
// pair of grids, and one group of the losses, holds for all of it. A block of threads keeps its tile of O and w and lets
// candidates pass.
//
// Codes are rows along k, padded with zeros, see int8_tile.cuh: L [candidate, range, row, padded], R [candidate, row, padded],
// where rows are those of all products one after the other, or only of those needed, as the row blocks say.
#pragma once

#include "codes.cuh"
#include "int8_tile.cuh"
#include "rows.cuh"

namespace score {

struct Shape {
    long long n;
    long long k;
    long long m;
    long long padded;  // bytes of a row of codes
    long long parts;  // column parts, of m / parts columns
    long long tiles;  // tiles of a part
    long long scales;  // scales of a candidate: one for all, or one for each head or each of equal parts of the columns
    long long groups;  // losses of a candidate: the same or one
    long long by_head;  // whether scales and groups are those of heads, not of columns
    long long slots;  // partial sums of a candidate and group along rows, and along columns
    long long inner;
    long long most;  // candidates there is room for in lists
    long long share;  // candidates, of those of its scale, that a block takes
    long long ranges;  // of L's codes that are multiplied and added up
    long long transposed;  // whether tiles have O's columns as rows
    long long absolute;
    long long stride_a;  // bytes from one candidate's codes to the next in the operand along the tile's rows; 0 if fixed
    long long stride_b;
    long long range_b;  // bytes from one range to the next; only the operand along the tile's columns has two
};

// Rows [from, from + rows) of product `batch`.
struct RowBlock {
    int batch;
    int from;
    int rows;
    int head;
    int left;  // first row of its codes of L
    int right;  // of its product's codes of R
    int slot;  // which of the partial sums of its group
    int unused;
};

// What candidates are there and what scale they mean.
struct Candidates {
    const int* lists;  // [scales, most]: candidates that differ from the one before them in this scale
    const int* counts;  // [scales]: how many
    const float* steps;  // [candidates, scales, ranges]: product of the two operands' steps
};

// What O^ is compared with.
struct Truth {
    const float* output;
    const float* weight;  // or null
    const float* bias;  // or null
};

// This block's tile.
struct Place {
    RowBlock block;
    int column;  // first one of O
    int columns;
    int scale;
    int group;
    int within;  // place of its partial sum among those of its row block
    bool transposed;

    // Whether this warp's part of the tile lies beyond its edges.
    template <class Tile> __device__ __forceinline__ bool idle() const {
        return Tile::first_row() >= rows_a() || Tile::first_column() >= rows_b();
    }

    __device__ __forceinline__ int rows_a() const { return transposed ? columns : block.rows; }
    __device__ __forceinline__ int rows_b() const { return transposed ? block.rows : columns; }
    __device__ __forceinline__ long long codes_a() const { return transposed ? block.right + column : block.left; }
    __device__ __forceinline__ long long codes_b() const { return transposed ? block.left : block.right + column; }
};

// Tiles are numbered in x: columns innermost.
__device__ __forceinline__ Place place(const Shape& p, const RowBlock* blocks, int side) {
    long long across = p.parts * p.tiles;
    int number = (int) (blockIdx.x % across);
    int part = number / (int) p.tiles;
    int tile = number % (int) p.tiles;
    int width = (int) (p.m / p.parts);
    Place at;
    at.block = blocks[blockIdx.x / across];
    at.column = part * width + tile * side;
    at.columns = min(side, width - tile * side);
    int own = p.by_head ? at.block.head : part;
    at.scale = p.scales == 1 ? 0 : own;
    at.group = p.groups == 1 ? 0 : own;
    at.within = p.groups == 1 || p.by_head ? number : tile;
    at.transposed = p.transposed != 0;
    return at;
}

// Where the partial sum of a candidate belongs: [candidate, slot, group, inner].
__device__ __forceinline__ long long partial_sum(const Shape& p, int candidate, int slot, int group, int within) {
    return ((candidate * p.slots + slot) * p.groups + group) * p.inner + within;
}

// A thread's elements of O and w, two neighbours of a tile's row at a time: in registers, or, where those are needed for sums,
// in shared memory, where each thread has its own places. O is without the bias; beyond the edges there are zeros.
template <class Tile, bool IN_REGISTERS> struct Kept {
    static constexpr int PAIRS = Tile::FRAGMENTS_A * Tile::FRAGMENTS_B * 2;
    static constexpr int BYTES = IN_REGISTERS ? 0 : PAIRS * Tile::THREADS * (int) sizeof(float4);

    float4* shared;
    float4 own[IN_REGISTERS ? PAIRS : 1];

    // The elements of fragment row i (half: its upper or lower eight rows) and fragment column j: O, O, w, w.
    __device__ __forceinline__ float4& at(int i, int j, int half) {
        int pair = (i * Tile::FRAGMENTS_B + j) * 2 + half;
        if constexpr (IN_REGISTERS) {
            return own[pair];
        } else {
            return shared[pair * Tile::THREADS + threadIdx.x];
        }
    }

    // `with_bias`: leaves the bias in.
    __device__ __forceinline__ void load(const Shape& p, const Place& place, const Truth& truth, bool with_bias) {
        UNROLLED
        for (int i = 0; i < Tile::FRAGMENTS_A; i++) {
            UNROLLED
            for (int j = 0; j < Tile::FRAGMENTS_B; j++) {
                UNROLLED
                for (int half = 0; half < 2; half++) {
                    float numbers[4];
                    UNROLLED
                    for (int s = 0; s < 2; s++) {
                        int a = Tile::row(i, 2 * half);
                        int b = Tile::column(j, s);
                        bool inside = a < place.rows_a() && b < place.rows_b();
                        long long row = place.block.from + (place.transposed ? b : a);
                        long long column = place.column + (place.transposed ? a : b);
                        long long index = (place.block.batch * p.n + row) * p.m + column;
                        float bias = inside && !with_bias && truth.bias != nullptr ? truth.bias[column] : 0.0f;
                        numbers[s] = inside ? __fsub_rn(truth.output[index], bias) : 0.0f;
                        numbers[2 + s] = !inside ? 0.0f : truth.weight != nullptr ? truth.weight[index] : 1.0f;
                    }
                    at(i, j, half) = make_float4(numbers[0], numbers[1], numbers[2], numbers[3]);
                }
            }
        }
    }
};

// Codes that are multiplied in one turn: a tile of A with one or two of B.
struct Turn {
    const signed char* a;
    const signed char* b[2];
    int products;
};

// Slices of codes on their way: while one is multiplied the next ones are loaded, also those of the next turn.
template <class Tile, int SIDE, int STAGES> struct Pipeline {
    struct Stage {
        __align__(16) signed char a[SIDE * Tile::DEPTH];
        __align__(16) signed char b[2][SIDE * Tile::DEPTH];
    };
    struct Shared {
        Stage stage[STAGES];
    };

    // For each turn: finish(turn, sums), and before that, when all threads are done with finishing the turn before,
    // finished(turn - 1). source(turn) tells what to multiply.
    template <class Source, class Finish>
    static __device__ __forceinline__ void run(Shared& shared, const Shape& p, const Place& place, int turns, Source source,
                                               Finish& finish) {
        int slices = (int) (p.padded / Tile::DEPTH);
        bool idle = place.idle<Tile>();
        Turn loading = source(0);
        int turn_loading = 0;
        int slice_loading = 0;
        auto load_next = [&](int to) {
            if (turn_loading < turns) {
                Stage& stage = shared.stage[to];
                int first = slice_loading * Tile::DEPTH;
                // a fixed A of one slice is in all stages after the first turns
                if (slices > 1 || p.stride_a != 0 || turn_loading < STAGES) {
                    Tile::template load_rows<SIDE>(stage.a, loading.a, place.rows_a(), p.padded, first);
                }
                Tile::template load_rows<SIDE>(stage.b[0], loading.b[0], place.rows_b(), p.padded, first);
                if (loading.products == 2) {
                    Tile::template load_rows<SIDE>(stage.b[1], loading.b[1], place.rows_b(), p.padded, first);
                }
                if (++slice_loading == slices) {
                    slice_loading = 0;
                    if (++turn_loading < turns) {
                        loading = source(turn_loading);
                    }
                }
            }
            copy_async_commit();
        };
        for (int stage = 0; stage < STAGES - 1; stage++) {
            load_next(stage);
        }
        int stage = 0;
        for (int turn = 0; turn < turns; turn++) {
            bool second = source(turn).products == 2;
            typename Tile::Sums sums[2];
            Tile::clear(sums[0]);
            Tile::clear(sums[1]);
            for (int slice = 0; slice < slices; slice++) {
                copy_async_wait<STAGES - 2>();
                // this slice is there, and nobody reads the one before any more
                __syncthreads();
                if (slice == 0 && turn > 0) {
                    finish.finished(turn - 1);
                }
                load_next(stage == 0 ? STAGES - 1 : stage - 1);
                if (!idle) {
                    const Stage& ready = shared.stage[stage];
                    typename Tile::SliceA a = Tile::slice_a(ready.a);
                    Tile::multiply(sums[0], a, ready.b[0]);
                    if (second) {
                        Tile::multiply(sums[1], a, ready.b[1]);
                    }
                }
                stage = stage == STAGES - 1 ? 0 : stage + 1;
            }
            finish.finish(turn, sums);
        }
        __syncthreads();
        finish.finished(turns - 1);
    }
};

}  // namespace score
