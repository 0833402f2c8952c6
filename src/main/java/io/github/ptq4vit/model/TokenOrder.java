package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;

/** A permutation of the tokens of every image. */
public final class TokenOrder {
    private final int[] places;

    /** @param places for each token after the permutation its place before */
    TokenOrder(int... places) {
        this.places = places;
    }

    /** For each token after the permutation its place before. */
    public int[] places() {
        return places.clone();
    }

    /** The permutation that undoes this one. */
    TokenOrder inverse() {
        int[] inverse = new int[places.length];
        for (int i = 0; i < places.length; i++) {
            inverse[places[i]] = i;
        }
        return new TokenOrder(inverse);
    }

    /** Permutes dense arrays of {@code [images, tokens, length]}; the result may have other sizes. */
    void apply(Backend backend, View from, View to) {
        int images = from.size(0);
        int[] rows = new int[images * places.length];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = i / places.length * places.length + places[i % places.length];
        }
        int length = Math.toIntExact(from.elements() / rows.length);
        backend.gather(from.reshape(rows.length, length), rows, to.reshape(rows.length, length));
    }
}
