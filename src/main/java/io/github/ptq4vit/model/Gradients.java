package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.List;

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
        return allocate(scope, a, scope.floats(a.input().sizes()), output);
    }

    /** Room for all but the gradients at the input and the output, which are given. */
    public static Gradients allocate(Scope scope, Activations a, View input, View output) {
        return new Gradients(input, scope.floats(a.qkv().sizes()),
                scope.floats(a.scores().sizes()), scope.floats(a.context().sizes()), scope.floats(a.projection().sizes()),
                scope.floats(a.fc1().sizes()), output);
    }

    /** The same of images {@code [from, to)}. */
    public Gradients images(int from, int to) {
        return new Gradients(input.slice(0, from, to), qkv.slice(0, from, to), scores.slice(0, from, to),
                context.slice(0, from, to), projection.slice(0, from, to), fc1.slice(0, from, to), output.slice(0, from, to));
    }

    /**
     * Adds the squares of the gradients at the layers' outputs to this, which holds sums of squares.
     *
     * @param first whether these are the first, and what is here counts as zero
     */
    public void addSquares(Backend backend, Gradients g, float factor, boolean first) {
        List<View> sums = List.of(qkv, scores, context, projection, fc1, output);
        List<View> terms = List.of(g.qkv, g.scores, g.context, g.projection, g.fc1, g.output);
        for (int i = 0; i < sums.size(); i++) {
            if (first) {
                backend.zero(sums.get(i));
            }
            backend.addSquare(terms.get(i), factor, sums.get(i));
        }
    }
}
