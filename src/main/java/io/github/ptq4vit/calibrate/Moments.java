package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;

/** Weighted second moments {@code X^T diag(w) X / rows} of inputs. */
final class Moments {
    private static final int PIECE = 512;

    private final Backend backend;
    private final double[] weights;

    /** @param weights one a row */
    Moments(Backend backend, double[] weights) {
        this.backend = backend;
        this.weights = weights;
    }

    /**
     * The moments of a matrix, symmetric to the last bit: products in float32, pieces of rows added in float64 in their order.
     *
     * @param x {@code [rows, inputs]}
     */
    double[][] of(View x) {
        int rows = x.size(0);
        int inputs = x.size(1);
        int pieces = (rows + PIECE - 1) / PIECE;
        double[][] sum = new double[inputs][inputs];
        try (Scope scope = backend.scope()) {
            View products = scope.floats(pieces, inputs, inputs);
            backend.parallel(pieces, (first, last, inner) -> {
                for (int piece = first; piece < last; piece++) {
                    int from = piece * PIECE;
                    int to = Math.min(rows, from + PIECE);
                    View own = x.slice(0, from, to);
                    float[] numbers = backend.download(own).toArray().clone();
                    for (int i = 0; i < numbers.length; i++) {
                        numbers[i] *= (float) Math.sqrt(weights[from + i / inputs]);
                    }
                    View weighted = inner.floats(to - from, inputs);
                    backend.upload(Tensor.of(Shape.of(to - from, inputs), numbers), weighted);
                    backend.matmul(weighted.transpose(), weighted, products.at(piece));
                }
            });
            for (int piece = 0; piece < pieces; piece++) {
                float[] numbers = backend.download(products.at(piece)).toArray();
                for (int i = 0; i < numbers.length; i++) {
                    sum[i / inputs][i % inputs] += numbers[i];
                }
            }
        }
        for (int i = 0; i < inputs; i++) {
            for (int j = 0; j <= i; j++) {
                double mean = (sum[i][j] + sum[j][i]) / 2 / rows;
                sum[i][j] = mean;
                sum[j][i] = mean;
            }
        }
        return sum;
    }
}
