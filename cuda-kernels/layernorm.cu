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
template <class Row> __device__ __forceinline__ Moments moments(const Row& x, int columns, float epsilon) {
    float sum = 0;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            sum += pack.v[j];
        }
    });
    float mean = warp_sum(sum) / columns;
    float squares = 0;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            float d = pack.v[j] - mean;
            squares += d * d;
        }
    });
    return {mean, 1.0f / sqrtf(warp_sum(squares) / columns + epsilon)};
}

template <class Row> __device__ __forceinline__ void forward(Row x, const float* from, const float* gamma, const float* beta,
                                                             float* y, int columns, float epsilon) {
    x.load(from, columns);
    Moments m = moments(x, columns, epsilon);
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        Pack<Row::V> scale = load_pack<Row::V>(gamma + column);
        Pack<Row::V> shift = load_pack<Row::V>(beta + column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            pack.v[j] = (pack.v[j] - m.mean) * m.inverse * scale.v[j] + shift.v[j];
        }
        store_pack<Row::V>(y + column, pack);
    });
}

template <class Row> __device__ __forceinline__ void backward(Row x, const float* from, const float* gamma,
                                                              const float* gradient, float* dx, int columns, float epsilon) {
    Row dy;
    x.load(from, columns);
    dy.load(gradient, columns);
    Moments m = moments(x, columns, epsilon);
    float sum = 0;
    float products = 0;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        Pack<Row::V> scale = load_pack<Row::V>(gamma + column);
        Pack<Row::V> d = dy.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            float g = scale.v[j] * d.v[j];
            sum += g;
            products += g * ((pack.v[j] - m.mean) * m.inverse);
        }
    });
    float mean_g = warp_sum(sum) / columns;
    float mean_gz = warp_sum(products) / columns;
    Row::each(columns, [&](int slot, int column) {
        Pack<Row::V> pack = x.get(slot, column);
        Pack<Row::V> scale = load_pack<Row::V>(gamma + column);
        Pack<Row::V> d = dy.get(slot, column);
        UNROLLED
        for (int j = 0; j < Row::V; j++) {
            float z = (pack.v[j] - m.mean) * m.inverse;
            pack.v[j] = (scale.v[j] * d.v[j] - mean_g - z * mean_gz) * m.inverse;
        }
        store_pack<Row::V>(dx + column, pack);
    });
}

}  // namespace layernorm

KERNEL __launch_bounds__(256, 2) layernorm_forward_f32(const float* x, const float* gamma, const float* beta, float* y,
        long long rows, int columns, float epsilon) {
    bool vectors = aligned16(x) && aligned16(gamma) && aligned16(beta) && aligned16(y);
    each_row(rows, columns, vectors, [&](long long row, auto kind) {
        layernorm::forward(kind, x + row * columns, gamma, beta, y + row * columns, columns, epsilon);
    });
}

KERNEL __launch_bounds__(256, 2) layernorm_backward_f32(const float* x, const float* gamma, const float* dy, float* dx,
        long long rows, int columns, float epsilon) {
    bool vectors = aligned16(x) && aligned16(gamma) && aligned16(dy) && aligned16(dx);
    each_row(rows, columns, vectors, [&](long long row, auto kind) {
        layernorm::backward(kind, x + row * columns, gamma, dy + row * columns, dx + row * columns, columns, epsilon);
    });
}
