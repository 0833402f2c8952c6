// Codes of numbers, equal to the last bit on every device: a true division, rounded half to even, or a table of levels.
#pragma once

#include "common.cuh"

// Numbers from (inclusive) to (exclusive; infinity inclusive) have the code clamp(round(x / step), min, max), others 0.
struct CodeRange {
    float step;
    float from;
    float to;
    int min;
    int max;
};

// What the numbers of a row have in common, as in RowScale.java: nothing, that decoded they are divided by their sum, or that their
// range is the unit of the steps.
constexpr int ROWS_BY_SUM = 1;
constexpr int ROWS_BY_RANGE = 2;

// One range, or two of which one has the code of a number: the one whose limits hold it or, by the nearest rule, the one
// whose point is nearest, the first on a tie. With a table the codes are looked up.
struct CodeGrid {
    CodeRange range[2];
    int ranges;
    int nearest;
    int rows;  // 0, ROWS_BY_SUM or ROWS_BY_RANGE
    int table;  // bytes from the first grid of the array to this one's table; 0 for none
};

// Up to 256 levels of increasing value, each with a code for each range. A number is compared with the bounds between levels
// by the upper 16 bits of its float32 and belongs to the level above those that it reaches.
// The bounds are a search tree, breadth first: node i has children 2 i (smaller numbers) and 2 i + 1, the root is node 1, and
// missing bounds, which nothing reaches, are NaN. So the lanes of a warp read the same line of 128 bytes in each of the first six
// steps, and one of four in the eighth; and a table takes 1.6 KiB where a level for each pattern of 16 bits takes 64: those of all
// heads, or of the candidates of a search, stay in the first cache.
struct CodeTable {
    float bounds[256];
    signed char codes[2][256];
    int depth;
    int unused[31];  // up to whole lines

    __device__ __forceinline__ int level(float x) const {
        float number = __uint_as_float(__float_as_uint(x) & 0xffff0000u);
        int node = 1;
        for (int i = 0; i < depth; i++) {
            node = 2 * node + (number >= bounds[node] ? 1 : 0);
        }
        return node - (1 << depth);
    }
};

// The range of a row's numbers with 0, and the code of its smallest number, negated; see RowRange.java.
struct RowRange {
    float size;
    int zero_point;
};

// The smallest and the largest of some numbers and 0. The largest is NaN if one of them is: then all of the row becomes NaN.
struct Extremes {
    float low = 0;
    float high = 0;

    __device__ __forceinline__ void add(float lower, float higher) {
        low = fminf(low, lower);
        high = higher > high || higher != higher ? higher : high;
    }

    __device__ __forceinline__ void add(float number) {
        add(number, number);
    }

    // Of all lanes.
    __device__ __forceinline__ void add_lanes() {
        for (int distance = 16; distance > 0; distance /= 2) {
            add(__shfl_xor_sync(0xffffffffu, low, distance), __shfl_xor_sync(0xffffffffu, high, distance));
        }
    }

    __device__ __forceinline__ RowRange row_range(const CodeRange& range) const {
        int steps = range.max - range.min;
        if (steps == 255) {
            float largest = -low > high ? -low : high;
            return {largest == 0 ? 1.0f : __fmul_rn(2.0f, largest), 128};
        }
        float size = __fsub_rn(high, low);
        if (size == 0) {
            return {1.0f, 0};
        }
        return {size, size < INFINITY ? (int) rintf(__fmul_rn(__int2float_rn(steps), __fdiv_rn(-low, size))) : 0};
    }
};

// Codes by one grid of an array, which its tables follow. NaN has code 0.
struct Coder {
    CodeGrid grid;
    const CodeTable* table;

    __device__ __forceinline__ Coder(const CodeGrid* grids, long long index)
        : grid(grids[index]),
          table(reinterpret_cast<const CodeTable*>(reinterpret_cast<const signed char*>(grids) + grid.table)) {
    }

    // For numbers divided by the size of their row's range.
    __device__ __forceinline__ Coder of(RowRange row) const {
        Coder own = *this;
        CodeRange& range = own.grid.range[0];
        range = {range.step, -INFINITY, INFINITY, -row.zero_point, range.max - range.min - row.zero_point};
        return own;
    }

    // Code of x in one range.
    __device__ __forceinline__ int code(int range, float x) const {
        if (grid.table != 0) {
            return x != x ? 0 : table->codes[range][table->level(x)];
        }
        return range == 0 ? computed<0>(x) : computed<1>(x);
    }

    // Calls f(range, code of x) for `ranges` ranges; in a second one that the grid lacks the code is 0.
    template <class F> __device__ __forceinline__ void each(long long ranges, float x, F f) const {
        if (grid.table != 0) {
            int level = table->level(x);
            UNROLLED
            for (int range = 0; range < 2; range++) {
                if (range < ranges) {
                    f(range, x != x || range >= grid.ranges ? 0 : table->codes[range][level]);
                }
            }
            return;
        }
        f(0, computed<0>(x));
        if (ranges == 2) {
            f(1, grid.ranges == 2 ? computed<1>(x) : 0);
        }
    }

    // What the codes of x stand for, before the row is divided by its sum.
    __device__ __forceinline__ float value(float x) const {
        float sum = 0;
        each(grid.ranges, x, [&](int range, int code) {
            sum = __fadd_rn(sum, __fmul_rn(__int2float_rn(code), grid.range[range].step));
        });
        return sum;
    }

private:
    template <int RANGE> __device__ __forceinline__ int computed(float x) const {
        if (grid.nearest == 0) {
            const CodeRange& r = grid.range[RANGE];
            return x >= r.from && (x < r.to || r.to == INFINITY) ? (int) rounded(r, x) : 0;
        }
        if (x != x) {
            return 0;
        }
        float first = rounded(grid.range[0], x);
        float second = rounded(grid.range[1], x);
        bool take_first = fabsf(__fsub_rn(x, __fmul_rn(first, grid.range[0].step)))
                <= fabsf(__fsub_rn(x, __fmul_rn(second, grid.range[1].step)));
        return take_first == (RANGE == 0) ? (int) (RANGE == 0 ? first : second) : 0;
    }

    static __device__ __forceinline__ float rounded(const CodeRange& range, float x) {
        return fmaxf((float) range.min, fminf((float) range.max, rintf(__fdiv_rn(x, range.step))));
    }
};
