package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.Locale;
import java.util.function.IntToDoubleFunction;

/** Comparing arrays with a tolerance of their own for each element. */
final class Close {
    /** Half the distance of neighbouring float32 numbers, relative. */
    static final double U = 0x1p-24;

    private Close() {
    }

    /** Fails with the worst element. */
    static void assertWithin(double[] actual, double[] expected, IntToDoubleFunction tolerance, String what) {
        assertEquals(expected.length, actual.length, what);
        int worst = -1;
        double worstRatio = 1;
        for (int i = 0; i < actual.length; i++) {
            double ratio = Math.abs(actual[i] - expected[i]) / (tolerance.applyAsDouble(i) + Double.MIN_NORMAL);
            if (!(ratio <= worstRatio)) {
                worst = i;
                worstRatio = Double.isNaN(ratio) ? Double.POSITIVE_INFINITY : ratio;
            }
        }
        if (worst >= 0) {
            fail(String.format(Locale.ROOT, "%s: element %d is %.9g instead of %.9g, %.3g times the tolerance", what, worst,
                    actual[worst], expected[worst], worstRatio));
        }
    }

    /** Of sums of {@code terms} products: roundings of a random walk, relative to the sum of magnitudes. */
    static IntToDoubleFunction sums(double[] magnitudes, int terms) {
        return i -> (4 + 2 * Math.sqrt(terms)) * U * magnitudes[i];
    }
}
