// The exponential function and GELU by sequences of float32 operations that are rounded alike on every device:
// FixedOrder.java has the same on the processor, and both give the same bits.
#pragma once

#include "common.cuh"

namespace functions {

// exp(x) for x <= 0, within 1.3 units in the last place; below -87 as at -87, where it is 1.6e-38.
// x = n ln 2 + r with |r| <= ln(2) / 2; adding 1.5 * 2^23 rounds to the integer n and leaves it in the lowest bits.
__device__ __forceinline__ float exp_nonpositive(float x) {
    constexpr float INTEGERS = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;  // NaN stays
    float shifted = fmaf(x, 1.44269504f, INTEGERS);
    float n = shifted - INTEGERS;
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 0.00138145986f;
    p = fmaf(p, r, 0.00836871693f);
    p = fmaf(p, r, 0.041668388f);
    p = fmaf(p, r, 0.166665206f);
    p = fmaf(p, r, 0.499999934f);
    p = fmaf(r * r, p, r) + 1.0f;
    // times 2^n, which is a normal number; added to p's exponent it would make a large number of NaN's bits
    return p * __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000u);
}

// gelu(x) = max(x, 0) - |x| h(|x|) with h(t) = erfc(t / sqrt 2) / 2 = exp(-t^2 / 2) N(t) / D(t), within 1e-7 of |x|, most of it
// the last rounding. N / D is fitted to [0, 16]; all its coefficients are positive, so nothing cancels.
__device__ __forceinline__ float gelu(float x) {
    float t = fabsf(x);
    t = t > 16.0f ? 16.0f : t;  // NaN stays
    float n = 0.00384419899f;
    n = fmaf(n, t, 0.0388710042f);
    n = fmaf(n, t, 0.17813599f);
    n = fmaf(n, t, 0.431633767f);
    n = fmaf(n, t, 0.5f);
    float d = 0.00963583418f;
    d = fmaf(d, t, 0.0974428672f);
    d = fmaf(d, t, 0.455980662f);
    d = fmaf(d, t, 1.18167753f);
    d = fmaf(d, t, 1.66115226f);
    d = fmaf(d, t, 1.0f);
    float h = exp_nonpositive(-0.5f * t * t) * __fdiv_rn(n, d);
    return fmaf(-t, h, x > 0 ? x : 0.0f);
}

}  // namespace functions
