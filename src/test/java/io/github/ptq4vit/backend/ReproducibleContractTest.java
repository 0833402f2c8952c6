package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Reproducible operations give the same bits on every backend, and what they should up to a few roundings. */
@EveryBackend
class ReproducibleContractTest {
    /** What a GPU's arithmetic answers where x86 answers {@link Float#NaN}. */
    private static final float GPU_NAN = Float.intBitsToFloat(0x7fffffff);
    private static final double U = Close.U;

    private final Backend opened;
    private final Backend backend;
    private final CpuBackend other = new CpuBackend(1);

    ReproducibleContractTest(BackendUnderTest subject) {
        this.opened = subject.open().get();
        this.backend = opened.reproducible();
    }

    @AfterEach
    void close() {
        backend.close();
        opened.close();
        other.close();
    }

    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "1, 4", "6, 7", "13, 31", "3, 32", "2, 33", "65, 192", "65, 197", "5, 256", "5, 577", "3, 641", "3, 1024", "2, 1025",
        "2, 4098"})
    void rows(int rows, int columns) {
        agrees(side -> {
            View y = side.scope.floats(rows, columns);
            side.backend.layerNorm(side.normal(1, rows, columns), side.normal(2, columns), side.normal(3, columns), 1e-6f, y);
            return y;
        }, y -> U * (40 + 2 * Math.sqrt(columns)) * (3 + Math.abs(y)) * (columns < 8 ? 50 : 1));
        for (float scale : new float[] {1, 0.125f, 30}) {
            agrees(side -> {
                View y = side.scope.floats(rows, columns);
                side.backend.softmax(side.normal(1, rows, columns), scale, y);
                return y;
            }, y -> y * U * (10 + Math.sqrt(columns) + 20 * scale) + 1e-37);
        }
    }

    @Test
    void softmaxOfMaskedAndOfUndefinedNumbers() {
        Function<Side, View> softmax = side -> {
            View x = side.upload(Tensor.of(Shape.of(4, 5), 3, -100, -86.9f, -87.1f, 1e30f, -1e30f, 0, 0, -0f, Float.MIN_VALUE,
                    1, 2, Float.NaN, 4, 5, 1, 2, GPU_NAN, 4, 5));
            side.backend.softmax(x, 1, x);
            return x;
        };
        double[] y = Side.run(backend, softmax);
        assertTrue(Arrays.stream(y, 10, 20).allMatch(Double::isNaN), Arrays.toString(y));
        if (isPromised()) {
            assertArrayEquals(Side.run(other.reproducible(), softmax), y);
        }
    }

    @Test
    void gelu() {
        float[] x = new float[10007];
        Random random = new Random(1);
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) (random.nextGaussian() * Math.pow(10, i % 5 - 2));
        }
        System.arraycopy(new float[] {0, -0f, 5.5f, -5.5f, 1e30f, -1e30f, 1e-40f, -1e-40f}, 0, x, 0, 8);
        Function<Side, View> gelu = side -> {
            View view = side.upload(Tensor.of(Shape.of(x.length), x));
            side.backend.gelu(view, view);
            return view;
        };
        double[] y = Side.truth(gelu);
        // relative to itself even in the negative tail, where the argument of the exponential is rounded, x^2 / 2; below -13 it is 0
        agrees(gelu, i -> x[i] < -13 ? 1e-36 : Math.abs(y[i]) * U * (24 + Math.min(169, x[i] * x[i])) + 1e-44, value -> 0);
    }

    @ParameterizedTest(name = "{0} rows, {1} inputs, {2} outputs")
    @CsvSource({"1, 1, 1", "1, 4, 6", "13, 17, 65", "65, 768, 17", "197, 49, 192", "3, 1537, 5"})
    void productsInFloat32(int rows, int inputs, int outputs) {
        for (boolean bias : new boolean[] {true, false}) {
            Function<Side, View> linear = side -> {
                Backend.Linear weights = side.backend.linear(side.scope, side.normalTensor(1, outputs, inputs), side.bias(bias, outputs));
                View y = side.scope.floats(rows, outputs);
                side.backend.linear(side.normal(2, rows, inputs), weights, y);
                return y;
            };
            agrees(linear, Close.sums(Side.magnitudes(linear), inputs), y -> 0);
        }
        Function<Side, View> mean = side -> {
            View y = side.filled(7, 2, outputs, rows + 2);
            View into = y.slice(2, 1, rows + 1).transpose();
            side.backend.matmul(side.normal(1, 2, inputs, rows).transpose(), side.normal(2, 2, inputs + 1, outputs).slice(1, 1, inputs + 1), into);
            return y;
        };
        agrees(mean, Close.sums(Side.magnitudes(mean), inputs), y -> 0);
    }

    @ParameterizedTest(name = "{0} rows, {1} inputs, {2} outputs")
    @CsvSource({"1, 1, 1", "4, 6, 13", "65, 197, 13", "197, 768, 67", "13, 1000, 65"})
    void productsOfCodes(int rows, int inputs, int outputs) {
        float[] steps = new float[outputs];
        Random random = new Random(1);
        for (int i = 0; i < outputs; i++) {
            steps[i] = 0.001f + 0.01f * random.nextFloat();
        }
        byte[] codes = new byte[outputs * inputs];
        random.nextBytes(codes);
        for (CodeGrid grid : List.of(CodesContractTest.uniform(128, 0.0213f),
                CodesContractTest.geluTwin(128, 0.17f / 128, 0.021f, false), CodesContractTest.levels().get(0),
                CodesContractTest.levels().get(1), CodesContractTest.uniform(8, 1f / 15).with(RowScale.RANGE),
                CodesContractTest.uniform(128, 1f / 255).with(RowScale.RANGE),
                CodesContractTest.levels().get(0).with(RowScale.RANGE))) {
            for (boolean bias : new boolean[] {true, false}) {
                sameBits(side -> {
                    Optional<Tensor> b = side.bias(bias, outputs);
                    Backend.Linear weights = side.backend.linear(side.scope, codes, steps, inputs, b);
                    View y = side.scope.floats(rows, outputs);
                    side.backend.linear(side.normal(2, rows, inputs), grid, weights, y);
                    return y;
                });
            }
        }
        CodeGrid uniform = CodesContractTest.uniform(128, 0.0213f);
        CodeGrid twin = CodesContractTest.softmaxTwin(128, 3, false);
        CodeGrid levels = CodesContractTest.levels().get(0);
        CodeGrid ranges = CodesContractTest.uniform(8, 1f / 15).with(RowScale.RANGE);
        for (List<CodeGrid> left : List.of(List.of(uniform), List.of(twin), List.of(levels), List.of(uniform.with(RowScale.SUM)),
                List.of(twin.with(RowScale.SUM)), List.of(levels.with(RowScale.SUM)),
                List.of(levels.with(RowScale.SUM), twin, twin.with(RowScale.SUM)),
                List.of(ranges), List.of(levels.with(RowScale.RANGE)), List.of(ranges, uniform, uniform.with(RowScale.SUM)))) {
            for (CodeGrid right : List.of(CodesContractTest.uniform(128, 0.0257f), ranges)) {
                for (boolean transposed : new boolean[] {true, false}) {
                    sameBits(side -> {
                        View c = side.scope.floats(2, 3, rows, outputs);
                        View b = transposed ? side.normal(2, 2, 3, outputs, inputs).transpose() : side.normal(2, 2, 3, inputs, outputs);
                        side.backend.matmul(side.normal(1, 2, 3, rows, inputs), left, b, List.of(right), c);
                        return c;
                    });
                }
            }
        }
    }

    @ParameterizedTest(name = "{0} x {1} in blocks of {2}")
    @CsvSource({"1, 1, 1", "13, 97, 1", "65, 24, 8", "197, 192, 64", "3, 384, 128", "2, 768, 256"})
    void productsOfCodesOfTransformedRows(int rows, int inputs, int block) {
        for (CodeGrid grid : RowTransformContractTest.grids()) {
            sameBits(side -> RowTransformContractTest.atOnce(side, rows, inputs, true, true, block, grid));
        }
    }

    @ParameterizedTest(name = "{0} x {1} in blocks of {2}")
    @CsvSource({"1, 1, 1", "3, 6, 2", "13, 12, 4", "5, 24, 8", "197, 192, 64", "3, 384, 128", "2, 768, 256", "3, 3072, 1024",
        "1, 4096, 4096"})
    void hadamardTransforms(int rows, int columns, int block) {
        sameBits(side -> {
            View y = side.scope.floats(rows, columns);
            side.backend.hadamard(side.normal(1, rows, columns), block, y);
            return y;
        });
        // neither aligned nor a whole number of pieces
        sameBits(side -> {
            View x = side.normal(1, 3 * block + 1).slice(0, 1, 3 * block + 1);
            side.backend.hadamard(x, block, x);
            return x;
        });
    }

    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "13, 7", "65, 197", "3, 1025"})
    void whatCodesStandFor(int rows, int columns) {
        for (CodeGrid grid : List.of(CodesContractTest.uniform(128, 0.0213f), CodesContractTest.softmaxTwin(8, 3, false),
                CodesContractTest.softmaxTwin(8, 3, true), CodesContractTest.levels().get(0), CodesContractTest.levels().get(1))) {
            for (RowScale scale : grid.ranges().size() == 1 || grid.table().isPresent() ? RowScale.values()
                    : new RowScale[] {RowScale.NONE, RowScale.SUM}) {
                sameBits(side -> {
                    View y = side.scope.floats(rows, columns);
                    side.backend.decoded(side.normal(1, rows, columns), grid.with(scale), y);
                    return y;
                });
            }
        }
    }

    /** Nothing of a row whose range is not finite stands for a number, wherever the warps of a GPU meet what is not finite. */
    @ParameterizedTest(name = "{0}")
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
    void rowsWithRangesThatAreNotFinite(float number) {
        for (CodeGrid grid : List.of(CodesContractTest.uniform(8, 1f / 15).with(RowScale.RANGE),
                CodesContractTest.uniform(128, 1f / 255).with(RowScale.RANGE), CodesContractTest.levels().get(0).with(RowScale.RANGE))) {
            for (int at : new int[] {0, 31, 32, 69}) {
                float[] numbers = new float[3 * 70];
                IntStream.range(0, numbers.length).forEach(i -> numbers[i] = i % 13 - 6);
                numbers[70 + at] = number;
                Function<Side, View> decoded = side -> {
                    View x = side.upload(Tensor.of(Shape.of(3, 70), numbers));
                    side.backend.decoded(x, grid, x);
                    return x;
                };
                Function<Side, View> product = side -> {
                    View y = side.scope.floats(1, 1, 3, 5);
                    side.backend.matmul(side.upload(Tensor.of(Shape.of(1, 1, 3, 70), numbers)), List.of(grid),
                            side.normal(2, 1, 1, 70, 5), List.of(CodesContractTest.uniform(128, 0.0257f)), y);
                    return y;
                };
                Function<Side, View> ofColumns = side -> {
                    View y = side.scope.floats(1, 1, 3, 5);
                    side.backend.matmul(side.normal(2, 1, 1, 5, 70), List.of(CodesContractTest.uniform(128, 0.0257f)),
                            side.upload(Tensor.of(Shape.of(1, 1, 3, 70), numbers)).transpose(), List.of(grid), y.transpose());
                    return y;
                };
                List<Function<Side, View>> operations = grid.table().isPresent() ? List.of(decoded, product)
                        : List.of(decoded, product, ofColumns);
                for (Function<Side, View> operation : operations) {
                    double[] y = Side.run(backend, operation);
                    int row = y.length / 3;
                    for (int i = 0; i < y.length; i++) {
                        assertEquals(i / row == 1, Double.isNaN(y[i]), grid + ": " + Arrays.toString(y));
                    }
                    sameBits(operation);
                }
            }
        }
    }

    private void agrees(Function<Side, View> operation, DoubleUnaryOperator tolerance) {
        agrees(operation, i -> 0, tolerance);
    }

    private void agrees(Function<Side, View> operation, IntToDoubleFunction ofElement, DoubleUnaryOperator ofValue) {
        double[] truth = Side.truth(operation);
        Close.assertWithin(Side.run(backend, operation), truth, i -> ofElement.applyAsDouble(i) + ofValue.applyAsDouble(truth[i]),
                backend.device().backend());
        sameBits(operation);
    }

    private void sameBits(Function<Side, View> operation) {
        if (isPromised()) {
            assertArrayEquals(Side.run(other.reproducible(), operation), Side.run(backend, operation), backend.device().device());
        }
    }

    /** All but the truth, which is in float64. */
    private boolean isPromised() {
        return !(opened instanceof PlainBackend);
    }
}
