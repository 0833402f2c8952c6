package io.github.ptq4vit.transform;

import java.util.Map;

/**
 * What calibration images do to a network, as far as transforms ask. Weights are squared gradients of the loss, divided by their
 * mean, and floored.
 *
 * @param offsets of each layer with a bias after a LayerNorm, by its name: what is taken off each channel of the input
 * @param inputs of each layer after a LayerNorm, by its name: the mean over the tokens of the squared input less its offset, weighted,
 *     one a channel
 * @param outputWeights of each layer with weights, by its name: how much the loss depends on each output
 * @param attention of each block, by its name
 */
public record Statistics(Map<String, double[]> offsets, Map<String, double[]> inputs, Map<String, double[]> outputWeights, Map<String, Attention> attention) {

    public Statistics {
        offsets = Map.copyOf(offsets);
        inputs = Map.copyOf(inputs);
        outputWeights = Map.copyOf(outputWeights);
        attention = Map.copyOf(attention);
    }

    /**
     * Of a block's attention; all arrays {@code [heads * head length]}.
     *
     * @param queries mean squared queries
     * @param keys mean squared keys, without their mean
     * @param keyMeans mean keys
     * @param valueMeans mean values
     * @param values how large errors of values and of the attention's output are for equal codes: their weighted mean squares
     */
    public record Attention(double[] queries, double[] keys, double[] keyMeans, double[] valueMeans, double[] values) {
    }
}
