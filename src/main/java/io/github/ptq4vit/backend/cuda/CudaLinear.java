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

    /** Weights that can be used as numbers, or as codes, for these rows. */
    static CudaLinear of(Backend.Linear linear, boolean quantized, View x, View y) {
        if (!(linear instanceof CudaLinear weights)) {
            throw new IllegalArgumentException("Weights of another backend: " + linear);
        }
        weights.owner.requireOpen();
        if (weights.steps.isPresent() != quantized) {
            throw new IllegalArgumentException(quantized ? "These weights are not quantised" : "These weights are quantised");
        }
        if (!x.isDense() || !y.isDense() || x.size(-1) != weights.inputs || y.size(-1) != weights.outputs
                || x.elements() / weights.inputs != y.elements() / weights.outputs) {
            throw new IllegalArgumentException("A layer with " + weights.inputs + " inputs and " + weights.outputs
                    + " outputs takes as many dense rows of each, not " + x + " and " + y);
        }
        return weights;
    }
}
