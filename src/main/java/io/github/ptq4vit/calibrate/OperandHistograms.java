package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.quant.LayerRecord.Histogram;
import java.util.function.BiFunction;
import java.util.stream.IntStream;

/** Histograms of the operands of layers, for their records: of a part of the numbers, since there are very many. */
final class OperandHistograms {
    private static final int MOST_NUMBERS = 1 << 18;

    private final Backend backend;
    private final Parallel parallel;

    OperandHistograms(Backend backend) {
        this.backend = backend;
        this.parallel = new Parallel(backend);
    }

    /**
     * Of some rows of a matrix: evenly spaced ones, and the one of the largest norm, which holds the massive activations if there are
     * any.
     *
     * @param transform what happens to rows before they are quantised
     */
    Histogram ofRows(View matrix, BiFunction<View, Scope, View> transform) {
        double[] norms = parallel.squaredNorms(matrix);
        int largest = IntStream.range(0, norms.length).reduce(0, (best, row) -> norms[row] > norms[best] ? row : best);
        int count = Math.min(norms.length, Math.max(1, MOST_NUMBERS / matrix.size(1)));
        int[] rows = IntStream.concat(IntStream.range(0, count).map(i -> (int) ((long) i * norms.length / count)), IntStream.of(largest))
                .sorted().distinct().toArray();
        try (Scope scope = backend.scope()) {
            View some = scope.floats(rows.length, matrix.size(1));
            parallel.gather(matrix, rows, some);
            return of(backend.download(transform.apply(some, scope)).toArray());
        }
    }

    /** Of an operand of some evenly spaced products of attention, {@code [products, heads, n, k]}. */
    Histogram ofProducts(View operand) {
        int products = operand.size(0);
        int count = (int) Math.min(products, Math.max(1, MOST_NUMBERS / (operand.elements() / products)));
        try (Scope scope = backend.scope()) {
            int[] sizes = operand.sizes();
            sizes[0] = count;
            View some = scope.floats(sizes);
            for (int i = 0; i < count; i++) {
                int product = (int) ((long) i * products / count);
                backend.copy(operand.slice(0, product, product + 1), some.slice(0, i, i + 1));
            }
            return of(backend.download(some).toArray());
        }
    }

    /** Of a weight. */
    static Histogram of(float[] numbers) {
        for (float x : numbers) {
            if (!Float.isFinite(x)) {
                throw CalibrationException.notFinite(x);
            }
        }
        return Histogram.of(numbers);
    }
}
