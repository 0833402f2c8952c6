// Layer normalisation of rows (Ba, Kiros, Hinton 2016) and its gradient with respect to the input.
//   z = (x - mean(x)) / sqrt(var(x) + epsilon),  y = z * gamma + beta
//   dx = (g - mean(g) - z * mean(g z)) / sqrt(var(x) + epsilon)  with  g = gamma * dy
// x, y, dy, dx are [rows, columns], gamma and beta [columns], dense. y may be x, dx may be dy.
// Launch: any number of blocks of 256 threads; a warp takes a row, in a loop over rows.
#include "rows.cuh"

namespace layernorm {

struct Moments {
    float mean;
    float inverse;
};

// Mean and inverse deviation, in two passes: differences from the mean do not cancel.
template <class Row> __device__ __forceinline__ Moments moments(Row& x, int columns, float epsilon) {
    float mean = __fdiv_rn(row_sum(x, columns, [](int, float number) { return number; }), (float) columns);
    float squares = row_sum(x, columns, [=](int, float number) { return (number - mean) * (number - mean); });
    return {mean, __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, (float) columns) + epsilon))};
}

template <class Row> __device__ __forceinline__ void forward(Row x, const float* from, const float* gamma, const float* beta,
                                                             float* y, int columns, float epsilon) {
    x.load(from, columns);
    Moments m = moments(x, columns, epsilon);
    x.each(columns, [&](int column, float number) {
        y[column] = (number - m.mean) * m.inverse * gamma[column] + beta[column];
    });
}

template <class Row> __device__ __forceinline__ void backward(Row x, const float* from, const float* gamma, const float* dy,
                                                              float* dx, int columns, float epsilon) {
    x.load(from, columns);
    Moments m = moments(x, columns, epsilon);
    auto z = [=](float number) { return (number - m.mean) * m.inverse; };
    auto g = [=](int column) { return gamma[column] * dy[column]; };
    float mean_g = row_sum(x, columns, [&](int column, float) { return g(column); }) / columns;
    float mean_gz = row_sum(x, columns, [&](int column, float number) { return g(column) * z(number); }) / columns;
    x.each(columns, [&](int column, float number) {
        dx[column] = (g(column) - mean_g - z(number) * mean_gz) * m.inverse;
    });
}

}  // namespace layernorm

KERNEL __launch_bounds__(256, 2) layernorm_forward_f32(const float* x, const float* gamma, const float* beta, float* y,
        long long rows, int columns, float epsilon) {
    each_row(rows, columns, [&](long long row, auto kind) {
        layernorm::forward(kind, x + row * columns, gamma, beta, y + row * columns, columns, epsilon);
    });
}

KERNEL __launch_bounds__(256, 2) layernorm_backward_f32(const float* x, const float* gamma, const float* dy, float* dx,
        long long rows, int columns, float epsilon) {
    each_row(rows, columns, [&](long long row, auto kind) {
        layernorm::backward(kind, x + row * columns, gamma, dy + row * columns, dx + row * columns, columns, epsilon);
    });
}
