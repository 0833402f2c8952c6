package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.function.Function;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Softmax and its gradient against the plain backend's, on every backend and by cuDNN. */
@ParameterizedClass(name = "{0}")
@MethodSource("io.github.ptq4vit.backend.BackendUnderTest#softmaxes")
class SoftmaxContractTest {
    private static final double U = Close.U;

    private final Backend backend;

    SoftmaxContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "1, 4", "6, 13", "13, 17", "17, 65", "65, 197", "4, 768", "3, 4098", "394, 197", "5, 577"})
    void softmaxAndItsGradient(int rows, int columns) {
        for (float scale : new float[] {1, 0.125f, 30}) {
            Function<Side, View> softmax = side -> {
                View y = side.scope.floats(rows, columns);
                side.backend.softmax(side.normal(1, rows, columns), scale, y);
                return y;
            };
            double[] y = Side.truth(softmax);
            // the argument of the exponential is rounded: as large as 10 scale for normal numbers. What underflows may be 0
            agrees(softmax, i -> y[i] * U * (8 + Math.sqrt(columns) + 20 * scale) + 1e-37);
            double[] dy = Side.truth(side -> side.normal(2, rows, columns));
            double[] sums = new double[rows];
            for (int i = 0; i < dy.length; i++) {
                sums[i / columns] += y[i] * Math.abs(dy[i]);
            }
            agrees(side -> {
                View dx = side.scope.floats(rows, columns);
                side.backend.softmaxBackward(softmax.apply(side), side.normal(2, rows, columns), scale, dx);
                return dx;
            }, i -> scale * y[i] * (Math.abs(dy[i]) + sums[i / columns]) * U * 3 * (8 + Math.sqrt(columns) + 20 * scale) + 1e-35);
        }
    }

    @Test
    void softmaxGivesMaskedElementsNothing() {
        float[] row = new float[49];
        Arrays.fill(row, 20, 49, -100);
        double[] y = Side.run(backend, side -> {
            View masked = side.upload(Tensor.of(Shape.of(1, 49), row));
            View out = side.scope.floats(1, 49);
            side.backend.softmax(masked, 1, out);
            return out;
        });
        assertEquals(1.0 / 20, y[0], 2 * U);
        assertTrue(y[48] >= 0 && y[48] < 1e-38, "exp(-100) / 20 is " + y[48]);
    }

    @Test
    void softmaxInPlaceIsSoftmax() {
        double[] apart = Side.run(backend, side -> {
            View y = side.scope.floats(13, 49);
            side.backend.softmax(side.normal(1, 13, 49), 0.5f, y);
            return y;
        });
        double[] inPlace = Side.run(backend, side -> {
            View x = side.normal(1, 13, 49);
            side.backend.softmax(x, 0.5f, x);
            return x;
        });
        assertArrayEquals(apart, inPlace);
    }

    private void agrees(Function<Side, View> operation, IntToDoubleFunction tolerance) {
        double[] truth = Side.truth(operation);
        Close.assertWithin(Side.run(backend, operation), truth, tolerance, backend.device().backend());
    }
}
