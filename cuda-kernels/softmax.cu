// Softmax of scaled rows and its gradient.
//   y = exp(scale x - max) / sum(exp(scale x - max)),  dx = scale y (dy - sum(y dy))
// All arrays are [rows, columns], dense. y may be x, dx may be dy or y.
// Launch: any number of blocks of 256 threads; a warp takes a row, in a loop over rows.
#include "functions.cuh"
#include "rows.cuh"

namespace softmax {

template <class Row> __device__ __forceinline__ void forward(Row x, const float* from, float* y, int columns, float scale) {
    x.load(from, columns);
    float largest = -INFINITY;
    x.each(columns, [&](int, float number) { largest = fmaxf(largest, scale * number); });
    largest = warp_max(largest);
    auto power = [=](int, float number) { return functions::exp_nonpositive(scale * number - largest); };
    float inverse = __fdiv_rn(1.0f, row_sum(x, columns, power));
    x.each(columns, [&](int column, float number) { y[column] = power(column, number) * inverse; });
}

// dx may be dy: a lane reads and writes the same places.
template <class Row> __device__ __forceinline__ void backward(Row y, const float* from, const float* dy, float* dx,
                                                              int columns, float scale) {
    y.load(from, columns);
    float sum = row_sum(y, columns, [=](int column, float value) { return value * dy[column]; });
    y.each(columns, [&](int column, float value) { dx[column] = scale * value * (dy[column] - sum); });
}

}  // namespace softmax

KERNEL __launch_bounds__(256, 2) softmax_forward_f32(const float* x, float* y, long long rows, int columns, float scale) {
    each_row(rows, columns, [&](long long row, auto kind) {
        softmax::forward(kind, x + row * columns, y + row * columns, columns, scale);
    });
}

KERNEL __launch_bounds__(256, 2) softmax_backward_f32(const float* y, const float* dy, float* dx, long long rows,
        int columns, float scale) {
    each_row(rows, columns, [&](long long row, auto kind) {
        softmax::backward(kind, y + row * columns, dy + row * columns, dx + row * columns, columns, scale);
    });
}
