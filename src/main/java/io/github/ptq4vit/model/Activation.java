package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;

/** What comes between the two layers of an MLP. */
public enum Activation {
    /** {@code y = gelu(x)}. */
    GELU(1, Distribution.GELU) {
        @Override
        void forward(Backend backend, View x, View y) {
            backend.gelu(x, y);
        }

        @Override
        void backward(Backend backend, View x, View dy, View dx) {
            backend.geluBackward(x, dy, dx);
        }
    };

    private final int parts;
    private final Distribution output;

    Activation(int parts, Distribution output) {
        this.parts = parts;
        this.output = output;
    }

    /** How many numbers go in for one that comes out. */
    public int parts() {
        return parts;
    }

    /** How the outputs are distributed. */
    public Distribution output() {
        return output;
    }

    /** From {@code [images, tokens, parts * hidden]} to {@code [images, tokens, hidden]}. */
    abstract void forward(Backend backend, View x, View y);

    /** Gradient with respect to x, from x and the gradient at y. */
    abstract void backward(Backend backend, View x, View dy, View dx);
}
