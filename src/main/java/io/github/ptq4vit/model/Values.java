package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.View;
import java.util.HashMap;
import java.util.Map;

/**
 * Arrays of a unit for some images: what it computes, gradients there, or means of their squares.
 *
 * @param arrays {@code [images, sizes]} by name
 */
public record Values(Map<String, View> arrays) {

    /** A value in its array. */
    public View of(Value value) {
        return value.of(arrays.get(value.array()));
    }

    /** The same of images {@code [from, to)}. */
    public Values images(int from, int to) {
        Map<String, View> own = new HashMap<>();
        arrays.forEach((name, array) -> own.put(name, array.slice(0, from, to)));
        return new Values(own);
    }

    /** How many images. */
    int images() {
        return arrays.values().iterator().next().size(0);
    }
}
