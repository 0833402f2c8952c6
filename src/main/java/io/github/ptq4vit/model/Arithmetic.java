package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.View;

/** How a network computes its products: in float32, or with quantised operands. Everything else is always float32. */
public interface Arithmetic {

    /** {@code y = x W^T + b} of a layer: x is {@code [rows, inputs]}, y {@code [rows, outputs]}. */
    void linear(Layer layer, View x, View y);

    /** {@code c = a b} of a layer, {@code [images, heads, n, k]} times {@code [images, heads, k, m]}; any strides. */
    void matmul(Layer layer, View a, View b, View c);
}
