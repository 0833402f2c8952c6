package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;

/** A unit of a network on a device. */
public sealed interface Unit permits Block, Merging {

    /** What it is. */
    UnitShape shape();

    /**
     * Room for a pass of some images, owned by the scope.
     *
     * @param input {@code [images, input tokens, input dim]}
     * @param output {@code [images, output tokens, output dim]}
     */
    Pass pass(Scope scope, View input, View output);

    /** The same with a new output. */
    default Pass pass(Scope scope, View input) {
        return pass(scope, input, output(scope, input.size(0)));
    }

    /** The forward pass alone: nothing is kept but the output, shaped as {@link #pass} takes it. */
    void forward(Arithmetic arithmetic, View input, View output);

    /** A new array for the output of so many images. */
    default View output(Scope scope, int images) {
        return scope.floats(images, shape().outputTokens(), shape().outputDim());
    }

    /** A new array for the input of so many images. */
    default View input(Scope scope, int images) {
        return scope.floats(images, shape().inputTokens(), shape().inputDim());
    }
}
