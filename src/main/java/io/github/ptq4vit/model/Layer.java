package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.Optional;

/**
 * A layer to quantise.
 *
 * @param name timm's name: {@code blocks.0.attn.qkv}; weights are {@code name + ".weight"}
 * @param role what it does
 * @param input how its left operand is distributed
 * @param weight shape of its weight, {@code [outputs, inputs]}, of the patch embedding {@code [outputs, channels, side,
 *     side]}; none of a product of attention
 */
public record Layer(String name, LayerRole role, Distribution input, Optional<Shape> weight) {

    /** A layer with weights whose input is distributed in whatever way. */
    static Layer linear(String name, LayerRole role, int outputs, int inputs) {
        return new Layer(name, role, Distribution.ANY, Optional.of(Shape.of(outputs, inputs)));
    }

    /** A product of attention. */
    static Layer matmul(String name, LayerRole role, Distribution input) {
        return new Layer(name, role, input, Optional.empty());
    }

    /** Length of an output row of a layer with weights. */
    public int outputs() {
        return weight.orElseThrow().size(0);
    }
}
