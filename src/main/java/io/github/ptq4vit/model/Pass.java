package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Optional;

/**
 * Some images on their way through a unit: memory for what it computes, and the computation. Runs on the calling thread;
 * disjoint {@link #images} may run side by side.
 */
public interface Pass {

    /** What comes in, {@code [images, tokens, dim]}. */
    View input();

    /** What comes out. */
    View output();

    /** The same of images {@code [from, to)}. */
    Pass images(int from, int to);

    /** From the input to the output, leaving everything between. */
    void forward(Arithmetic arithmetic);

    /** Room for gradients; those at input and output are given. */
    Gradients gradients(Scope scope, View input, View output);

    /**
     * Gradients of the loss with respect to every layer's output and the input, from the gradient at the output and what
     * {@link #forward} in float32 left. No gradient of a weight is computed.
     *
     * @param g {@code g.output} is given; the rest is written
     */
    void backward(FloatArithmetic arithmetic, Gradients g, Scope scope);

    /**
     * Operands and outputs of the layers, after {@link #forward}.
     *
     * @param gradients to go with them
     */
    List<LayerData> layers(Optional<Gradients> gradients);
}
