package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.View;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/**
 * What some images did to one layer.
 *
 * @param layer which
 * @param left L: {@code [rows, k]}, or {@code [products, heads, n, k]} for a product of attention, one product an image or
 *     window; any strides
 * @param right for attention R, {@code [products, heads, k, m]}, any strides; none for a layer with weights
 * @param output O with bias: {@code [rows, m]} or {@code [products, heads, n, m]}
 * @param gradient at O and shaped like it, or the mean of its squares; none unless asked for
 */
public record LayerData(Layer layer, View left, Optional<View> right, View output, Optional<View> gradient) {

    /** Of a layer with weights: all but the last axis are rows. */
    public static LayerData linear(Layer layer, View x, View y, Optional<View> gradient) {
        return new LayerData(layer, x.rows(), Optional.empty(), y.rows(), gradient.map(View::rows));
    }

    /** The same of the first half of the images. */
    public LayerData firstHalf() {
        UnaryOperator<View> half = view -> view.slice(0, 0, view.size(0) / 2);
        return new LayerData(layer, half.apply(left), right.map(half), half.apply(output), gradient.map(half));
    }

    /** All of its arrays. */
    public Stream<View> arrays() {
        return Stream.of(Stream.of(left, output), right.stream(), gradient.stream()).flatMap(all -> all);
    }
}
