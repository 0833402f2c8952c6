package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;
import java.util.Optional;

/**
 * Weights of a linear layer on a device.
 *
 * @param weights {@code [outputs, inputs]} in float32, or codes {@code [outputs, padded inputs]}, see {@link IntegerProducts}
 * @param steps scale of each output, for codes
 * @param bias {@code [outputs]}
 */
record CudaLinear(CudaScope owner, int inputs, int outputs, View weights, Optional<View> steps, Optional<View> bias)
        implements Backend.Linear {

    /** Weights that can be used as numbers, or as codes. */
    static CudaLinear of(Backend.Linear linear, boolean quantized) {
        if (!(linear instanceof CudaLinear weights)) {
            throw new IllegalArgumentException("Weights of another backend: " + linear);
        }
        weights.owner.requireOpen();
        if (weights.steps.isPresent() != quantized) {
            throw new IllegalArgumentException(quantized ? "These weights are not quantised" : "These weights are quantised");
        }
        return weights;
    }
}
