package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;

/** The same permutation of the tokens of every image, there and back. */
final class TokenOrder {
    private final Backend backend;
    private final int[] order;
    private final int[] inverse;

    /** @param order for each token after the permutation its place before */
    TokenOrder(Backend backend, int[] order) {
        this.backend = backend;
        this.order = order;
        this.inverse = new int[order.length];
        for (int i = 0; i < order.length; i++) {
            inverse[order[i]] = i;
        }
    }

    /** Permutes {@code [images, tokens, dim]}. */
    void forward(View from, View to) {
        gather(from, order, to);
    }

    /** Undoes {@link #forward}. */
    void backward(View from, View to) {
        gather(from, inverse, to);
    }

    private void gather(View from, int[] permutation, View to) {
        int images = from.size(0);
        int[] rows = permutation;
        if (images > 1) {
            rows = new int[images * permutation.length];
            for (int i = 0; i < rows.length; i++) {
                rows[i] = i / permutation.length * permutation.length + permutation[i % permutation.length];
            }
        }
        backend.gather(from.rows(), rows, to.rows());
    }
}
