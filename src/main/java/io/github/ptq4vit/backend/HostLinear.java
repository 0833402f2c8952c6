package io.github.ptq4vit.backend;

import java.util.Optional;

/**
 * Weights of the default operations, in memory of the scope that owns them.
 *
 * @param weights {@code [outputs, inputs]}: numbers, or codes as numbers
 * @param steps scale of each output, for codes
 * @param bias {@code [outputs]}
 */
record HostLinear(int inputs, int outputs, View weights, Optional<View> steps, Optional<View> bias) implements Backend.Linear {

    static HostLinear of(Backend.Linear linear, boolean quantized) {
        if (!(linear instanceof HostLinear weights)) {
            throw new IllegalArgumentException("Weights of another backend: " + linear);
        }
        if (weights.steps.isPresent() != quantized) {
            throw new IllegalArgumentException(quantized ? "These weights are not quantised" : "These weights are quantised");
        }
        return weights;
    }
}
