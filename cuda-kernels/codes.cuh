// Codes of numbers, equal to the last bit on every device: a true division, rounded half to even.
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

// One range, or two of which one has the code of a number: the one whose limits hold it or, by the nearest rule, the one
// whose point is nearest, the first on a tie.
struct CodeGrid {
    CodeRange range[2];
    int ranges;
    int nearest;
};

__device__ __forceinline__ float rounded_code(const CodeRange& range, float x) {
    return fmaxf((float) range.min, fminf((float) range.max, rintf(__fdiv_rn(x, range.step))));
}

// Code of x in one range of a grid. NaN has code 0.
__device__ __forceinline__ int code_of(const CodeGrid& grid, int range, float x) {
    if (grid.nearest == 0) {
        // chosen, not indexed: a copy of a grid then stays in registers
        CodeRange r = range == 0 ? grid.range[0] : grid.range[1];
        return x >= r.from && (x < r.to || r.to == INFINITY) ? (int) rounded_code(r, x) : 0;
    }
    if (x != x) {
        return 0;
    }
    float first = rounded_code(grid.range[0], x);
    float second = rounded_code(grid.range[1], x);
    bool take_first = fabsf(__fsub_rn(x, __fmul_rn(first, grid.range[0].step)))
            <= fabsf(__fsub_rn(x, __fmul_rn(second, grid.range[1].step)));
    return take_first == (range == 0) ? (int) (range == 0 ? first : second) : 0;
}
