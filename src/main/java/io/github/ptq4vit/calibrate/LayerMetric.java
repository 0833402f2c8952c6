package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.tensor.Tensor;

/** How bad a layer's quantised output is: a measure of one's own, see {@link LayerTrial#loss}. */
@FunctionalInterface
public interface LayerMetric {

    /**
     * The loss of a candidate; smaller is better.
     *
     * @param output O in float32, {@code [rows, outputs]}, or {@code [products, heads, n, m]} for a product of attention
     * @param candidate O^ with quantised operands, shaped like O
     * @param gradients squared gradients of the network's loss at O, means over the draws, shaped like O
     */
    double loss(Tensor output, Tensor candidate, Tensor gradients);
}
