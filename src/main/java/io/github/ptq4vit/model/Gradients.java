package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;

/**
 * Gradients of the loss in a block, shaped like {@link Activations}. The gradient at fc2's output is the one at the
 * block's output.
 *
 * @param input at the block's input
 * @param qkv at the output of the qkv layer
 * @param scores at the output of queries times keys
 * @param context at the output of probabilities times values
 * @param projection at the output of the projection
 * @param fc1 at the output of fc1
 * @param output at the block's output
 */
public record Gradients(View input, View qkv, View scores, View context, View projection, View fc1, View output) {

    /** Room for all but the gradient at the output, which is given. */
    public static Gradients allocate(Scope scope, Activations a, View output) {
        return new Gradients(scope.floats(a.input().sizes()), scope.floats(a.qkv().sizes()),
                scope.floats(a.scores().sizes()), scope.floats(a.context().sizes()), scope.floats(a.projection().sizes()),
                scope.floats(a.fc1().sizes()), output);
    }
}
