// GELU with the exact error function (Hendrycks, Gimpel 2016) and its gradient, sums, products, squares, magnitudes.
//   gelu(x) = x/2 (1 + erf(x / sqrt 2)),  gelu'(x) = (1 + erf(x / sqrt 2))/2 + x exp(-x^2/2) / sqrt(2 pi)
// Arrays of n numbers, dense; results may overwrite operands. Launch: any number of blocks; threads loop, four numbers at a
// time where all arrays are aligned to 16 bytes.
#include "functions.cuh"
#include "rows.cuh"

namespace elementwise {

constexpr float INVERSE_ROOT_2 = 0.70710678118654752f;
constexpr float INVERSE_ROOT_2_PI = 0.39894228040143268f;

__device__ __forceinline__ float cumulative(float x) {
    return 0.5f * (1.0f + erff(x * INVERSE_ROOT_2));
}

// c[i] = operation(a[i], b[i % inner])
template <class Operation> __device__ __forceinline__ void repeated(const float* a, const float* b, float* c, long long n,
                                                                    long long inner, Operation operation) {
    if (inner == n) {
        map_pairs(a, b, c, n, operation);
        return;
    }
    bool vectors = inner % 4 == 0 && aligned16(a) && aligned16(b) && aligned16(c);
    int width = vectors ? 4 : 1;
    long long period = inner / width;
    // the place in b moves on with each step, without a division
    long long at = grid_thread() % period;
    long long step = grid_threads() % period;
    for (long long i = grid_thread(); i < n / width; i += grid_threads()) {
        if (vectors) {
            Four first = load_four(a + 4 * i);
            Four second = load_four(b + 4 * at);
            for (int j = 0; j < 4; j++) {
                first.v[j] = operation(first.v[j], second.v[j]);
            }
            store_four(c + 4 * i, first);
        } else {
            c[i] = operation(a[i], b[at]);
        }
        at += step;
        at -= at >= period ? period : 0;
    }
}

}  // namespace elementwise

KERNEL gelu_forward_f32(const float* x, float* y, long long n) {
    map_elements(x, y, n, functions::gelu);
}

// dx = dy * gelu'(x)
KERNEL gelu_backward_f32(const float* x, const float* dy, float* dx, long long n) {
    map_pairs(x, dy, dx, n, [](float v, float d) {
        float density = elementwise::INVERSE_ROOT_2_PI * expf(-0.5f * v * v);
        return d * (elementwise::cumulative(v) + v * density);
    });
}

// c[i] = a[i] + b[i % inner], i < n: the second operand is repeated over leading axes. c may be a.
KERNEL add_repeated_f32(const float* a, const float* b, float* c, long long n, long long inner) {
    elementwise::repeated(a, b, c, n, inner, [](float v, float w) { return v + w; });
}

// c[i] = a[i] * b[i % inner], i < n. c may be a.
KERNEL multiply_repeated_f32(const float* a, const float* b, float* c, long long n, long long inner) {
    elementwise::repeated(a, b, c, n, inner, [](float v, float w) { return v * w; });
}

// sum += factor * x * x
KERNEL add_square_f32(const float* x, float* sum, long long n, float factor) {
    map_pairs(x, sum, sum, n, [=](float v, float s) { return s + factor * v * v; });
}

// y = |x|
KERNEL magnitude_f32(const float* x, float* y, long long n) {
    map_elements(x, y, n, [](float v) { return fabsf(v); });
}
