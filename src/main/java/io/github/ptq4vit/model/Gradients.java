package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;
import java.util.EnumMap;
import java.util.Map;

/**
 * Gradients of the loss in a unit, or sums of their squares.
 *
 * @param input at the unit's input
 * @param layers at the outputs of its layers, in memory as those
 * @param output at the unit's output
 */
public record Gradients(View input, Map<LayerRole, View> layers, View output) {

    public Gradients {
        layers = new EnumMap<>(layers);
    }

    /** At the output of a layer. */
    public View at(LayerRole role) {
        return layers.get(role);
    }

    /** The same of images {@code [from, to)}. */
    public Gradients images(int from, int to) {
        Map<LayerRole, View> own = new EnumMap<>(LayerRole.class);
        layers.forEach((role, view) -> own.put(role, view.slice(0, from, to)));
        return new Gradients(input.slice(0, from, to), own, output.slice(0, from, to));
    }

    /**
     * Adds the squares of the gradients at the layers' outputs to this, which holds sums of squares.
     *
     * @param first whether these are the first, and what is here counts as zero
     */
    public void addSquares(Backend backend, Gradients g, float factor, boolean first) {
        layers.forEach((role, sum) -> {
            if (first) {
                backend.zero(sum);
            }
            backend.addSquare(g.at(role), factor, sum);
        });
    }
}
