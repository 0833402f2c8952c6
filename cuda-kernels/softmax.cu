// Softmax of scaled rows and its gradient.
//   y = exp(scale x - max) / sum(exp(scale x - max)),  dx = scale y (dy - sum(y dy))
// All arrays are [rows, columns], dense. y may be x, dx may be dy or y.
// Launch: any number of blocks of whole warps; a warp takes a row, in a loop over rows.
#include "rows.cuh"

namespace softmax {

template <int V> __device__ __forceinline__ void forward(const float* x, float* y, int columns, float scale) {
    float largest = -INFINITY;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        for (int j = 0; j < V; j++) {
            largest = fmaxf(largest, scale * pack.v[j]);
        }
    }
    largest = warp_max(largest);
    float sum = 0;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(x + i);
        for (int j = 0; j < V; j++) {
            pack.v[j] = expf(__fmul_rn(scale, pack.v[j]) - largest);
            sum += pack.v[j];
        }
        store_pack<V>(y + i, pack);
    }
    float inverse = 1.0f / warp_sum(sum);
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> pack = load_pack<V>(y + i);
        for (int j = 0; j < V; j++) {
            pack.v[j] *= inverse;
        }
        store_pack<V>(y + i, pack);
    }
}

template <int V> __device__ __forceinline__ void backward(const float* y, const float* dy, float* dx, int columns, float scale) {
    float sum = 0;
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> value = load_pack<V>(y + i);
        Pack<V> gradient = load_pack<V>(dy + i);
        for (int j = 0; j < V; j++) {
            sum += value.v[j] * gradient.v[j];
        }
    }
    sum = warp_sum(sum);
    for (int i = V * lane(); i < columns; i += V * 32) {
        Pack<V> value = load_pack<V>(y + i);
        Pack<V> gradient = load_pack<V>(dy + i);
        for (int j = 0; j < V; j++) {
            value.v[j] = scale * value.v[j] * (gradient.v[j] - sum);
        }
        store_pack<V>(dx + i, value);
    }
}

}  // namespace softmax

KERNEL softmax_forward_f32(const float* x, float* y, long long rows, int columns, float scale) {
    bool vectors = columns % 4 == 0 && aligned16(x) && aligned16(y);
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        if (vectors) {
            softmax::forward<4>(x + row * columns, y + row * columns, columns, scale);
        } else {
            softmax::forward<1>(x + row * columns, y + row * columns, columns, scale);
        }
    }
}

KERNEL softmax_backward_f32(const float* y, const float* dy, float* dx, long long rows, int columns,
                                                float scale) {
    bool vectors = columns % 4 == 0 && aligned16(y) && aligned16(dy) && aligned16(dx);
    for (long long row = grid_warp(); row < rows; row += grid_warps()) {
        if (vectors) {
            softmax::backward<4>(y + row * columns, dy + row * columns, dx + row * columns, columns, scale);
        } else {
            softmax::backward<1>(y + row * columns, dy + row * columns, dx + row * columns, columns, scale);
        }
    }
}
