package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.function.Function;
import java.util.function.IntToDoubleFunction;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The elementwise and row-wise operations against the plain backend's. */
@EveryBackend
class OperationsContractTest {
    private static final double U = Close.U;
    /** Of erf by the usual polynomials (Abramowitz and Stegun 7.1.26), which is what oneDNN computes. */
    private static final double ERF = 1.5e-7;

    private final Backend backend;

    OperationsContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "1, 4", "6, 13", "13, 17", "17, 65", "65, 197", "4, 768", "3, 4098", "197, 576", "5, 577"})
    void rowsAreNormalised(int rows, int columns) {
        for (float offset : new float[] {0, 3}) {
            Function<Side, View> input = side -> shifted(side, side.normal(1, rows, columns), offset);
            Rows x = new Rows(Side.truth(input), columns);
            double[] gamma = Side.truth(side -> side.normal(2, columns));
            agrees(side -> {
                View y = side.scope.floats(rows, columns);
                side.backend.layerNorm(input.apply(side), side.normal(2, columns), side.normal(3, columns), 1e-6f, y);
                return y;
            }, i -> x.normError(i / columns) * (1 + Math.abs(gamma[i % columns])));
            double[] g = Side.truth(side -> side.normal(4, rows, columns));
            for (int i = 0; i < g.length; i++) {
                g[i] *= gamma[i % columns];
            }
            Rows scaled = new Rows(g, columns);
            agrees(side -> {
                View dx = side.scope.floats(rows, columns);
                side.backend.layerNormBackward(input.apply(side), side.normal(2, columns), 1e-6f, side.normal(4, rows, columns), dx);
                return dx;
            }, i -> {
                int row = i / columns;
                double z = 1 + Math.abs(x.numbers[i] - x.means[row]) / x.deviations[row];
                return x.normError(row) * scaled.largest[row] * 3 * z / x.deviations[row];
            });
        }
    }

    @Test
    void aRowWithOneHugeNumberIsNormalised() {
        Rows x = new Rows(Side.truth(OperationsContractTest::oneHuge), 192);
        agrees(side -> {
            View y = side.scope.floats(1, 192);
            side.backend.layerNorm(oneHuge(side), side.filled(1, 192), side.filled(0, 192), 1e-6f, y);
            return y;
        }, i -> x.normError(0));
    }

    @ParameterizedTest(name = "{0} elements")
    @ValueSource(ints = {1, 4, 6, 13, 17, 65, 197, 4098})
    void geluAndItsGradient(int elements) {
        Function<Side, View> input = side -> {
            float[] numbers = side.normalTensor(1, elements).toArray();
            for (int i = 0; i < elements; i++) {
                numbers[i] *= i % 3 == 0 ? 1 : i % 3 == 1 ? 0.01f : 8;
            }
            return side.upload(Tensor.of(Shape.of(elements), numbers));
        };
        double[] x = Side.truth(input);
        Function<Side, View> gelu = side -> {
            View y = side.scope.floats(elements);
            side.backend.gelu(input.apply(side), y);
            return y;
        };
        agrees(gelu, i -> Math.abs(x[i]) * (ERF / 2 + 4 * U));
        agrees(side -> {
            View y = input.apply(side);
            side.backend.gelu(y, y);
            return y;
        }, i -> Math.abs(x[i]) * (ERF / 2 + 4 * U));
        double[] dy = Side.truth(side -> side.normal(2, elements));
        agrees(side -> {
            View dx = side.scope.floats(elements);
            side.backend.geluBackward(input.apply(side), side.normal(2, elements), dx);
            return dx;
        }, i -> Math.abs(dy[i]) * (ERF / 2 + 8 * U));
    }

    @Test
    void geluOfExtremeNumbersIsTheNumberOrZero() {
        float[] numbers = {0, -0.0f, 1e-30f, -1e-30f, 20, -20, 1e10f, -1e10f, 1e30f};
        double[] y = Side.run(backend, side -> {
            View out = side.scope.floats(numbers.length);
            side.backend.gelu(side.upload(Tensor.of(Shape.of(numbers.length), numbers)), out);
            return out;
        });
        assertArrayEquals(new double[] {0, 0, 5e-31f, -5e-31f, 20, 0, 1e10f, 0, 1e30f}, y, 1e-34);
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "1, 4, 6", "6, 13, 17", "2, 197, 192", "3, 1, 65", "5, 7, 1"})
    void additionRepeatsTheSecondOperandOverLeadingAxes(int a, int b, int c) {
        for (int[] second : new int[][] {{a, b, c}, {b, c}, {c}}) {
            Function<Side, View> sum = side -> {
                View result = side.normal(1, a, b, c);
                side.backend.add(result, side.normal(2, second), result);
                return result;
            };
            agrees(sum, Close.sums(Side.magnitudes(sum), 1));
        }
    }

    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "1, 4", "6, 13", "13, 17", "197, 192", "3, 4098", "65, 1"})
    void rowsAreMultipliedByFactorsAlsoInPlace(int rows, int columns) {
        double[] x = Side.truth(side -> side.normal(1, rows, columns));
        double[] factors = Side.truth(side -> side.normal(2, columns));
        for (boolean inPlace : new boolean[] {false, true}) {
            agrees(side -> {
                View in = side.normal(1, rows, columns);
                View y = inPlace ? in : side.scope.floats(rows, columns);
                side.backend.multiply(in, side.normal(2, columns), y);
                return y;
            }, i -> Math.abs(x[i] * factors[i % columns]) * U);
        }
    }

    @ParameterizedTest(name = "{0} x {1} in blocks of {2}")
    @CsvSource({"1, 1, 1", "1, 2, 2", "6, 12, 4", "13, 24, 8", "5, 64, 64", "197, 192, 64", "3, 768, 256", "65, 96, 32", "5, 384, 128", "3, 512, 512",
        "2, 3072, 1024", "3, 4096, 2048", "1, 4096, 4096"})
    void blocksAreMultipliedWithHadamardMatricesAlsoInPlace(int rows, int columns, int block) {
        for (boolean inPlace : new boolean[] {false, true}) {
            Function<Side, View> transform = side -> {
                View x = side.normal(1, rows, columns);
                View y = inPlace ? x : side.scope.floats(rows, columns);
                side.backend.hadamard(x, block, y);
                return y;
            };
            double[] x = Side.magnitudes(side -> side.normal(1, rows, columns));
            agrees(transform, i -> (2 + Math.sqrt(block)) * U * HostOperations.hadamardFactor(block)
                    * IntStream.range(i / block * block, i / block * block + block).mapToDouble(j -> Math.abs(x[j])).sum());
        }
    }

    @Test
    void blocksOfAHadamardTransformMustDivideTheRow() {
        for (int block : new int[] {0, 3, 8, 64}) {
            assertThrows(IllegalArgumentException.class, () -> Side.run(backend, side -> {
                View x = side.normal(1, 4, 12);
                side.backend.hadamard(x, block, x);
                return x;
            }));
        }
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "4, 3, 13", "13, 1, 65", "2, 6, 4098", "197, 3, 17", "3, 2, 20011"})
    void squaredErrorsAreSummedPerGroup(int outer, int groups, int inner) {
        for (boolean weighted : new boolean[] {true, false}) {
            double[] actual;
            double[] expected;
            try (Side side = Side.of(backend); PlainBackend plain = new PlainBackend()) {
                actual = errors(side, weighted, outer, groups, inner);
                try (Side truth = Side.of(plain)) {
                    expected = errors(truth, weighted, outer, groups, inner);
                }
            }
            // one rounding of each difference, then float64; the weights may have either sign
            double largest = 100.0 * outer * inner;
            Close.assertWithin(actual, expected, i -> 8 * U * (weighted ? largest : expected[i]), "sums");
        }
    }

    private static double[] errors(Side side, boolean weighted, int... sizes) {
        return side.backend.squaredErrors(side.normal(1, sizes), side.normal(2, sizes),
                weighted ? java.util.Optional.of(side.normal(3, sizes)) : java.util.Optional.empty());
    }

    @ParameterizedTest(name = "{0} elements")
    @ValueSource(ints = {1, 4, 6, 13, 17, 65, 197, 4098})
    void squaresAreAccumulated(int elements) {
        Function<Side, View> squares = side -> {
            View sum = side.normal(1, elements);
            side.backend.addSquare(side.normal(2, elements), 0.25f, sum);
            side.backend.addSquare(side.normal(3, elements), 3, sum);
            return sum;
        };
        agrees(squares, Close.sums(Side.magnitudes(squares), 2));
    }

    @ParameterizedTest(name = "{0} elements")
    @ValueSource(ints = {1, 6, 17, 197, 4098})
    void magnitudesAndZeros(int elements) {
        equal(side -> {
            View y = side.scope.floats(elements);
            side.backend.magnitudes(side.normal(1, elements), y);
            return y;
        });
        equal(side -> {
            View y = side.filled(Float.NaN, 3, elements);
            side.backend.zero(y.slice(0, 1, 2));
            side.backend.zero(y.slice(0, 0, 1));
            return y.slice(0, 0, 2);
        });
    }

    @Test
    void copiesBetweenAnyStridesChangeNothing() {
        equal(side -> {
            View to = side.filled(7, 3, 5, 2, 4, 6);
            side.backend.copy(side.normal(1, 2, 4, 6, 3, 5), to.permute(2, 3, 4, 0, 1));
            return to;
        });
        equal(side -> {
            View from = ProductsContractTest.heads(side.normal(1, 2, 13, 3 * 4 * 6), 4);
            View to = side.filled(7, 2, 4, 13, 6);
            side.backend.copy(from.at(1), to);
            return to;
        });
        equal(side -> {
            View to = side.filled(7, 6, 17);
            side.backend.copy(side.normal(1, 13, 4).transpose().slice(1, 2, 11), to.slice(0, 1, 5).slice(1, 3, 12));
            return to;
        });
        // larger than any tile that a device may cut a transposition into
        equal(side -> {
            View to = side.filled(7, 3, 65, 71);
            side.backend.copy(side.normal(1, 3, 71, 65).transpose(), to);
            return to;
        });
        equal(side -> {
            View to = side.filled(7, 5, 3, 40, 70);
            side.backend.copy(side.normal(1, 3, 40, 70, 6).permute(3, 0, 1, 2).slice(0, 1, 6), to);
            return to;
        });
        // patches of images; groups of four numbers stay together
        equal(side -> {
            View to = side.filled(7, 2, 3, 3, 3, 4, 4);
            side.backend.copy(side.normal(1, 2, 3, 12, 12).split(2, 3).split(4, 3).permute(0, 2, 4, 1, 3, 5), to);
            return to;
        });
        equal(side -> {
            View to = side.filled(7, 6, 20);
            side.backend.copy(side.normal(1, 6, 21).slice(1, 1, 17), to.slice(1, 4, 20));
            return to;
        });
        try (Side side = Side.of(backend)) {
            View from = side.normal(1, 2, 3);
            View to = side.normal(1, 3, 2);
            assertThrows(IllegalArgumentException.class, () -> backend.copy(from, to));
        }
    }

    @Test
    void rowsAreGatheredInTheGivenOrder() {
        equal(side -> {
            View to = side.filled(7, 5, 3, 17);
            side.backend.gather(side.normal(1, 4, 3, 17), new int[] {3, 0, 3, 1, 2}, to);
            return to;
        });
        equal(side -> {
            View to = side.filled(7, 3, 192);
            side.backend.gather(side.normal(1, 4, 192), new int[] {2, 3, 0}, to);
            return to;
        });
        equal(side -> {
            View to = side.filled(7, 2, 5);
            side.backend.gather(side.normal(1, 6, 5).slice(0, 2, 6), new int[] {3, 0}, to);
            return to;
        });
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "2, 3, 4", "6, 13, 17", "4, 12, 4097", "1, 1, 10000", "65, 6, 1"})
    void maximaPerGroup(int outer, int groups, int inner) {
        float[] expected = new float[0];
        float[] expectedMagnitudes = new float[0];
        try (PlainBackend plain = new PlainBackend(); Side side = Side.of(plain)) {
            expected = plain.maxima(side.normal(1, outer, groups, inner), false);
            expectedMagnitudes = plain.maxima(side.normal(1, outer, groups, inner), true);
        }
        try (Side side = Side.of(backend)) {
            View x = side.normal(1, outer, groups, inner);
            assertArrayEquals(expected, backend.maxima(x, false));
            assertArrayEquals(expectedMagnitudes, backend.maxima(x, true));
        }
    }

    @Test
    void aGroupWithNanHasNoMaximum() {
        try (Side side = Side.of(backend)) {
            View x = side.upload(Tensor.of(Shape.of(2, 3, 2), 1, 2, 3, -4, -5, -6, 1, 2, Float.NaN, 1, -7, -8));
            assertArrayEquals(new float[] {2, Float.NaN, -5}, backend.maxima(x, false));
            assertArrayEquals(new float[] {2, Float.NaN, 8}, backend.maxima(x, true));
        }
    }

    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "6, 13", "65, 197", "3, 4098"})
    void rowsAreSummedInDoublePrecision(int rows, int columns) {
        try (PlainBackend plain = new PlainBackend(); Side truth = Side.of(plain); Side side = Side.of(backend)) {
            double[] expected = plain.rowSums(truth.normal(1, rows, columns));
            assertArrayEquals(expected, backend.rowSums(side.normal(1, rows, columns)), 1e-12 * columns);
        }
    }

    private static View shifted(Side side, View x, float offset) {
        side.backend.add(x, side.filled(offset, x.size(-1)), x);
        return x;
    }

    private static View oneHuge(Side side) {
        float[] row = side.normalTensor(1, 192).toArray();
        row[77] = 2000;
        return side.upload(Tensor.of(Shape.of(1, 192), row));
    }

    /** Statistics of rows. */
    private static final class Rows {
        final double[] numbers;
        final double[] means;
        final double[] deviations;
        final double[] largest;
        private final int columns;

        Rows(double[] numbers, int columns) {
            this.numbers = numbers;
            this.columns = columns;
            this.means = each(row -> row.average().orElse(0));
            this.largest = each(row -> row.map(Math::abs).max().orElse(0));
            double[] squares = each(row -> row.map(v -> v * v).average().orElse(0));
            this.deviations = new double[means.length];
            Arrays.setAll(deviations, row -> Math.sqrt(Math.max(0, squares[row] - means[row] * means[row]) + 1e-6));
        }

        private double[] each(ToDoubleFunction<DoubleStream> statistic) {
            return IntStream.range(0, numbers.length / columns)
                    .mapToDouble(row -> statistic.applyAsDouble(Arrays.stream(numbers, row * columns, (row + 1) * columns)))
                    .toArray();
        }

        /**
         * Error of a normalised number: differences from the mean are as inexact as the row's largest number, and the
         * mean as a random walk of roundings.
         */
        double normError(int row) {
            return U * (8 + Math.sqrt(columns)) * (1 + largest[row] / deviations[row]);
        }
    }

    private void agrees(Function<Side, View> operation, IntToDoubleFunction tolerance) {
        double[] truth = Side.truth(operation);
        Close.assertWithin(Side.run(backend, operation), truth, tolerance, backend.device().backend());
    }

    private void equal(Function<Side, View> operation) {
        assertArrayEquals(Side.truth(operation), Side.run(backend, operation));
    }
}
