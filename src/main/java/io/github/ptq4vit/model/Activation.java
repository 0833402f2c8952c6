package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;

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
    },
    /**
     * SwiGLU: {@code y = silu(a) * b} with {@code silu(a) = a / (1 + exp(-a))} of the first half a and the second half b of a row
     * (Shazeer, arXiv 2002.05202; as DINOv2 and timm's SwiGLUPacked have it). Computed on the host, of whatever device.
     */
    SWIGLU(2, Distribution.ANY) {
        @Override
        void forward(Backend backend, View x, View y) {
            float[] in = backend.download(x).toArray();
            int half = y.size(-1);
            float[] out = new float[in.length / 2];
            for (int i = 0; i < out.length; i++) {
                int a = i / half * 2 * half + i % half;
                out[i] = (float) (in[a] * sigmoid(in[a]) * in[a + half]);
            }
            backend.upload(Tensor.of(Shape.of(y.sizes()), out), y);
        }

        @Override
        void backward(Backend backend, View x, View dy, View dx) {
            float[] in = backend.download(x).toArray();
            float[] gradients = backend.download(dy).toArray();
            int half = dy.size(-1);
            float[] out = new float[in.length];
            for (int i = 0; i < gradients.length; i++) {
                int a = i / half * 2 * half + i % half;
                double sigmoid = sigmoid(in[a]);
                // silu' = s (1 + a (1 - s))
                out[a] = (float) (gradients[i] * in[a + half] * sigmoid * (1 + in[a] * (1 - sigmoid)));
                out[a + half] = (float) (gradients[i] * in[a] * sigmoid);
            }
            backend.upload(Tensor.of(Shape.of(dx.sizes()), out), dx);
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

    /** The same bits on every machine. */
    private static double sigmoid(float x) {
        return 1 / (1 + StrictMath.exp(-x));
    }
}
