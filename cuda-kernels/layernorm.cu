// Layer normalisation of rows (Ba, Kiros, Hinton 2016) and its gradient with respect to the input.
//   z = (x - mean(x)) / sqrt(var(x) + epsilon),  y = z * gamma + beta
//   dx = (g - mean(g) - z * mean(g z)) / sqrt(var(x) + epsilon)  with  g = gamma * dy
// x, y, dy, dx are [rows, columns], gamma and beta [columns], dense. y may be x, dx may be dy.
// Launch: any number of blocks of whole warps; a warp takes a row, in a loop over rows. A row is read again for each pass;
// it fits the first-level cache.
#include "rows.cuh"

namespace layernorm {

struct Moments {
    float mean;
    float inverse;
};

// Mean and inverse deviation, in two passes: differences from the mean do not cancel.
template <int V> __device__ __forceinline__ Moments moments(const float* x, int columns, float epsilon) {
    float sum = 0;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        for (int j = 0; j < V; j++) {
            sum += pack.v[j];
        }
    }
    float mean = warp_sum(sum) / columns;
    float squares = 0;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        for (int j = 0; j < V; j++) {
            float d = pack.v[j] - mean;
            squares += d * d;
        }
    }
    return {mean, 1.0f / sqrtf(warp_sum(squares) / columns + epsilon)};
}

template <int V> __device__ __forceinline__ void forward(const float* x, const float* gamma, const float* beta, float* y,
                                                         int columns, float epsilon) {
    Moments m = moments<V>(x, columns, epsilon);
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        Pack<V> scale = load_pack<V>(gamma + i);
        Pack<V> shift = load_pack<V>(beta + i);
        for (int j = 0; j < V; j++) {
            pack.v[j] = (pack.v[j] - m.mean) * m.inverse * scale.v[j] + shift.v[j];
        }
        store_pack<V>(y + i, pack);
    }
}

template <int V> __device__ __forceinline__ void backward(const float* x, const float* gamma, const float* dy, float* dx,
                                                          int columns, float epsilon) {
    Moments m = moments<V>(x, columns, epsilon);
    float sum = 0;
    float products = 0;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        Pack<V> scale = load_pack<V>(gamma + i);
        Pack<V> gradient = load_pack<V>(dy + i);
        for (int j = 0; j < V; j++) {
            float g = scale.v[j] * gradient.v[j];
            sum += g;
            products += g * ((pack.v[j] - m.mean) * m.inverse);
        }
    }
    float mean_g = warp_sum(sum) / columns;
    float mean_gz = warp_sum(products) / columns;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        Pack<V> scale = load_pack<V>(gamma + i);
        Pack<V> gradient = load_pack<V>(dy + i);
        for (int j = 0; j < V; j++) {
            float z = (pack.v[j] - m.mean) * m.inverse;
            pack.v[j] = (scale.v[j] * gradient.v[j] - mean_g - z * mean_gz) * m.inverse;
        }
        store_pack<V>(dx + i, pack);
    }
}

}  // namespace layernorm

KERNEL layernorm_forward_f32(const float* x, const float* gamma, const float* beta, float* y,
                                                 long long rows, int columns, float epsilon) {
    bool vectors = columns % 4 == 0 && aligned16(x) && aligned16(gamma) && aligned16(beta) && aligned16(y);
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        if (vectors) {
            layernorm::forward<4>(x + row * columns, gamma, beta, y + row * columns, columns, epsilon);
        } else {
            layernorm::forward<1>(x + row * columns, gamma, beta, y + row * columns, columns, epsilon);
        }
    }
}

KERNEL layernorm_backward_f32(const float* x, const float* gamma, const float* dy, float* dx,
                                                  long long rows, int columns, float epsilon) {
    bool vectors = columns % 4 == 0 && aligned16(x) && aligned16(gamma) && aligned16(dy) && aligned16(dx);
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        if (vectors) {
            layernorm::backward<4>(x + row * columns, gamma, dy + row * columns, dx + row * columns, columns, epsilon);
        } else {
            layernorm::backward<1>(x + row * columns, gamma, dy + row * columns, dx + row * columns, columns, epsilon);
        }
    }
}
