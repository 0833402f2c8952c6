// Softmax of scaled rows and its gradient.
//   y = exp(scale x - max) / sum(exp(scale x - max)),  dx = scale y (dy - sum(y dy))
// All arrays are [rows, columns], dense. y may be x, dx may be dy or y.
// Launch: any number of blocks of 256 threads; a warp takes a row, in a loop over rows.
#include "rows.cuh"

namespace softmax {

template <class Row> __device__ __forceinline__ void forward(Row x, const float* from, float* y, int columns, float scale) {
    x.load(from, columns);
    float largest = -INFINITY;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            largest = fmaxf(largest, scale * pack.v[j]);
        }
    });
    largest = warp_max(largest);
    float sum = 0;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            sum += expf(scale * pack.v[j] - largest);
        }
    });
    float inverse = 1.0f / warp_sum(sum);
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            pack.v[j] = expf(scale * pack.v[j] - largest) * inverse;
        }
        store_pack<Row::V>(y + column, pack);
    });
}

template <class Row> __device__ __forceinline__ void backward(Row y, const float* from, const float* gradient, float* dx,
                                                              int columns, float scale) {
    Row dy;
    y.load(from, columns);
    dy.load(gradient, columns);
    float sum = 0;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> value = y.get(slot, column);
        Pack<Row::V> d = dy.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            sum += value.v[j] * d.v[j];
        }
    });
    sum = warp_sum(sum);
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> value = y.get(slot, column);
        Pack<Row::V> d = dy.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            value.v[j] = scale * value.v[j] * (d.v[j] - sum);
        }
        store_pack<Row::V>(dx + column, value);
    });
}

}  // namespace softmax

KERNEL __launch_bounds__(256, 2) softmax_forward_f32(const float* x, float* y, long long rows, int columns, float scale) {
    each_row(rows, columns, aligned16(x) && aligned16(y), [&](long long row, auto kind) {
        softmax::forward(kind, x + row * columns, y + row * columns, columns, scale);
    });
}

KERNEL __launch_bounds__(256, 2) softmax_backward_f32(const float* y, const float* dy, float* dx, long long rows,
        int columns, float scale) {
    each_row(rows, columns, aligned16(y) && aligned16(dy) && aligned16(dx), [&](long long row, auto kind) {
        softmax::backward(kind, y + row * columns, dy + row * columns, dx + row * columns, columns, scale);
    });
}
