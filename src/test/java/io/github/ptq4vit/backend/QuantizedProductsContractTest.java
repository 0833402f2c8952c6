package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Products of codes are exact: with steps that are powers of two and sums below 2^24 they are equal to the last bit, else
 * a handful of roundings away.
 */
@EveryBackend
class QuantizedProductsContractTest {
    private final Backend backend;

    QuantizedProductsContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @ParameterizedTest(name = "{0} rows, {1} inputs, {2} outputs")
    @CsvSource({"1, 1, 1", "1, 4, 6", "4, 6, 13", "6, 13, 17", "13, 1, 65", "17, 65, 1", "65, 197, 13", "197, 65, 197",
        "1, 768, 6", "13, 576, 768", "197, 1537, 17", "67, 4096, 7"})
    void aLinearLayerOfCodes(int rows, int inputs, int outputs) {
        for (CodeGrid grid : List.of(CodesContractTest.uniform(128, 0.0213f), CodesContractTest.uniform(8, 0.31f),
                CodesContractTest.geluTwin(128, 0.17f / 128, 0.021f, false),
                CodesContractTest.geluTwin(32, 0.17f / 32, 0.09f, true), CodesContractTest.softmaxTwin(128, 4, false),
                CodesContractTest.levels().get(0), CodesContractTest.levels().get(1))) {
            for (boolean bias : new boolean[] {true, false}) {
                float[] steps = new float[outputs];
                for (int i = 0; i < outputs; i++) {
                    steps[i] = 0.001f * (1 + i % 7);
                }
                agrees(inputs, side -> linear(side, rows, inputs, grid, steps, side.bias(bias, outputs)), grid,
                        one -> side -> linear(side, rows, inputs, one, steps, side.bias(false, outputs)));
            }
        }
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "4, 6, 13", "13, 17, 1", "197, 197, 64"})
    void rowsOfProbabilitiesSumToOneAgain(int n, int k, int m) {
        CodeGrid right = CodesContractTest.uniform(128, 0.0257f);
        for (CodeGrid grid : List.of(CodesContractTest.levels().get(0), CodesContractTest.softmaxTwin(8, 3, false),
                CodesContractTest.uniform(128, 0.0213f))) {
            for (boolean transposed : new boolean[] {true, false}) {
                CodeGrid left = grid.with(RowScale.SUM);
                double[] truth = Side.truth(side -> attention(side, n, k, m, List.of(left), List.of(right), transposed));
                double largest = Arrays.stream(truth).map(Math::abs).max().orElse(0);
                Close.assertWithin(Side.run(backend, side -> attention(side, n, k, m, List.of(left), List.of(right), transposed)),
                        truth, i -> 8 * Close.U * (Math.abs(truth[i]) + largest), "row sums");
            }
        }
    }

    @ParameterizedTest(name = "{0} rows, {1} inputs, {2} outputs")
    @CsvSource({"1, 1, 1", "4, 6, 13", "17, 65, 1", "197, 192, 65", "5, 768, 17"})
    void rowsOfALayersInputMayHaveRangesOfTheirOwn(int rows, int inputs, int outputs) {
        for (CodeGrid grid : rowGrids()) {
            for (boolean bias : new boolean[] {true, false}) {
                float[] steps = new float[outputs];
                Arrays.fill(steps, 0.001f);
                close(side -> linear(side, rows, inputs, grid, steps, side.bias(bias, outputs)), grid.toString());
            }
        }
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "4, 6, 13", "13, 17, 1", "197, 64, 197", "65, 197, 64"})
    void rowsAndColumnsOfAttentionMayHaveRangesOfTheirOwn(int n, int k, int m) {
        CodeGrid fixed = CodesContractTest.uniform(8, 0.3f);
        CodeGrid own = CodesContractTest.uniform(8, 1f / 15).with(RowScale.RANGE);
        for (boolean transposed : new boolean[] {true, false}) {
            for (CodeGrid left : rowGrids()) {
                close(side -> attention(side, n, k, m, List.of(left), List.of(own), transposed), left.toString());
                close(side -> attention(side, n, k, m, List.of(left), List.of(fixed), transposed), left.toString());
            }
            close(side -> attention(side, n, k, m, List.of(fixed), List.of(own), transposed), "columns");
            CodeGrid levels = CodesContractTest.levels().get(3).with(RowScale.RANGE);
            close(side -> attention(side, n, k, m, List.of(levels), List.of(levels), transposed), "levels on both sides");
            close(side -> attention(side, n, k, m, List.of(CodesContractTest.levels().get(0).with(RowScale.SUM)), List.of(own),
                    transposed), "sums and columns");
        }
    }

    private static List<CodeGrid> rowGrids() {
        return List.of(CodesContractTest.uniform(8, 0.9f / 15).with(RowScale.RANGE),
                CodesContractTest.uniform(128, 1f / 255).with(RowScale.RANGE), CodesContractTest.uniform(2, 0.3f).with(RowScale.RANGE),
                CodesContractTest.levels().get(0).with(RowScale.RANGE), CodesContractTest.levels().get(3).with(RowScale.RANGE));
    }

    private void close(Function<Side, View> operation, String what) {
        double[] truth = Side.truth(operation);
        double largest = Arrays.stream(truth).map(Math::abs).max().orElse(0);
        Close.assertWithin(Side.run(backend, operation), truth, i -> 16 * Close.U * (Math.abs(truth[i]) + largest), what);
    }

    @Test
    void onlyTheLeftOperandOfAttentionIsDividedByRowSums() {
        CodeGrid grid = CodesContractTest.uniform(128, 0.02f);
        CodeGrid sum = grid.with(RowScale.SUM);
        assertThrows(IllegalArgumentException.class,
                () -> Side.run(backend, side -> linear(side, 2, 4, sum, new float[] {1}, side.bias(false, 1))));
        assertThrows(IllegalArgumentException.class,
                () -> Side.run(backend, side -> attention(side, 2, 3, 4, List.of(grid), List.of(sum), true)));
    }

    private static View linear(Side side, int rows, int inputs, CodeGrid grid, float[] steps, java.util.Optional<Tensor> bias) {
        Backend.Linear weights = side.backend.linear(side.scope, codes(steps.length * inputs), steps, inputs, bias);
        View y = side.scope.floats(rows, steps.length);
        side.backend.linear(side.normal(2, rows, inputs), grid, weights, y);
        return y;
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "4, 6, 13", "13, 17, 1", "1, 65, 17", "17, 4, 65", "65, 1537, 6", "197, 65, 197"})
    void attentionOfCodesWithAGridForAllOrOneAHead(int n, int k, int m) {
        CodeGrid right = CodesContractTest.uniform(128, 0.0257f);
        for (CodeGrid left : List.of(CodesContractTest.uniform(128, 0.0213f), CodesContractTest.softmaxTwin(128, 3, false),
                CodesContractTest.softmaxTwin(8, 3, true), CodesContractTest.levels().get(0),
                CodesContractTest.levels().get(3))) {
            for (boolean transposed : new boolean[] {true, false}) {
                agrees(k, side -> attention(side, n, k, m, List.of(left), List.of(right), transposed), left,
                        one -> side -> attention(side, n, k, m, List.of(one), List.of(right), transposed));
                Function<Side, View> looked = side -> attention(side, n, k, m, List.of(left), List.of(CodesContractTest.levels().get(1)),
                        transposed);
                double[] truth = Side.truth(looked);
                double largest = Arrays.stream(truth).map(Math::abs).max().orElse(0);
                Close.assertWithin(Side.run(backend, looked), truth, i -> 4 * Close.U * (Math.abs(truth[i]) + largest), "levels right");
            }
        }
        List<CodeGrid> lefts = List.of(CodesContractTest.uniform(128, 0.02f), CodesContractTest.uniform(32, 0.08f),
                CodesContractTest.uniform(4, 0.7f));
        List<CodeGrid> rights = List.of(CodesContractTest.uniform(16, 0.2f), right, CodesContractTest.uniform(128, 0.01f));
        double[] truth = Side.truth(side -> attention(side, n, k, m, lefts, rights, true));
        double largest = Arrays.stream(truth).map(Math::abs).max().orElse(0);
        Close.assertWithin(Side.run(backend, side -> attention(side, n, k, m, lefts, rights, true)), truth,
                i -> 4 * Close.U * (Math.abs(truth[i]) + (k > 1000 ? largest : 0)), "a grid a head");
    }

    private static View attention(Side side, int n, int k, int m, List<CodeGrid> left, List<CodeGrid> right, boolean transposed) {
        View a = side.normal(1, 2, 3, n, k);
        View b = transposed ? side.normal(2, 2, 3, m, k).transpose() : side.normal(2, 2, 3, k, m);
        View c = side.scope.floats(2, 3, n, m);
        side.backend.matmul(a, left, b, right, c);
        return c;
    }

    @Test
    void attentionOfCodesReadsAndWritesWindowsOfTheQkvRows() {
        CodeGrid grid = CodesContractTest.uniform(128, 0.0213f);
        Function<Side, View> scores = side -> {
            View qkv = ProductsContractTest.heads(side.normal(1, 2, 13, 3 * 3 * 17), 3);
            View output = side.scope.floats(2, 3, 13, 13);
            side.backend.matmul(qkv.at(0), List.of(grid), qkv.at(1).transpose(), List.of(grid), output);
            return output;
        };
        agrees(17, scores, grid, one -> scores);
        Function<Side, View> values = side -> {
            View qkv = ProductsContractTest.heads(side.normal(1, 2, 13, 3 * 3 * 17), 3);
            View output = side.filled(7, 2, 13, 3 * 17);
            side.backend.matmul(side.normal(2, 2, 3, 13, 13), List.of(grid), qkv.at(2), List.of(grid),
                    output.split(2, 3).permute(0, 2, 1, 3));
            return output;
        };
        agrees(13, values, grid, one -> values);
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"4, 6, 13", "65, 768, 17", "197, 1000, 65", "1, 1537, 6"})
    void sumsOfCodesAreEqualToTheLastBit(int rows, int inputs, int outputs) {
        float[] steps = new float[outputs];
        Arrays.fill(steps, 0x1p-6f);
        // extreme codes add up to 1040 * 127 * 127 < 2^24
        for (boolean extreme : inputs <= 1040 ? new boolean[] {false, true} : new boolean[] {false}) {
            Function<Side, View> product = side -> {
                byte[] weights = extreme ? extremes(outputs * inputs) : codes(outputs * inputs);
                Backend.Linear layer = side.backend.linear(side.scope, weights, steps, inputs, java.util.Optional.empty());
                View x = side.normal(2, rows, inputs);
                if (extreme) {
                    side.backend.upload(Tensor.of(Shape.of(rows, inputs), huge(rows * inputs)), x);
                }
                View y = side.scope.floats(rows, outputs);
                side.backend.linear(x, CodeGrid.of(CodeRange.unlimited(0x1p-5f, -127, 127)), layer, y);
                return y;
            };
            double[] truth = Side.truth(product);
            double[] actual = Side.run(backend, product);
            for (int i = 0; i < truth.length; i++) {
                assertEquals((float) truth[i], (float) actual[i], "element " + i);
            }
        }
    }

    @Test
    void theRightOperandHasOneRange() {
        CodeGrid twin = CodesContractTest.softmaxTwin(8, 3, false);
        assertThrows(IllegalArgumentException.class,
                () -> Side.run(backend, side -> attention(side, 2, 3, 4, List.of(twin), List.of(twin), true)));
    }

    @Test
    void theSameProductTwiceIsTheSame() {
        CodeGrid grid = CodesContractTest.geluTwin(128, 0.17f / 128, 0.021f, false);
        Function<Side, View> product = side -> attention(side, 65, 197, 17, List.of(grid),
                List.of(CodesContractTest.uniform(128, 0.0257f)), false);
        assertArrayEquals(Side.run(backend, product), Side.run(backend, product));
    }

    /** Bytes over the whole range. */
    private static byte[] codes(int count) {
        byte[] codes = new byte[count];
        new Random(5).nextBytes(codes);
        return codes;
    }

    private static byte[] extremes(int count) {
        byte[] codes = new byte[count];
        for (int i = 0; i < count; i++) {
            codes[i] = (byte) (i % 3 == 0 ? 127 : 126);
        }
        return codes;
    }

    private static float[] huge(int count) {
        float[] numbers = new float[count];
        Arrays.fill(numbers, 1000);
        return numbers;
    }

    /** The roundings are relative to the products of the ranges, which may cancel, and to the bias. */
    private void agrees(int inner, Function<Side, View> operation, CodeGrid grid,
            Function<CodeGrid, Function<Side, View>> ofOneRange) {
        double[] truth = Side.truth(operation);
        List<double[]> parts = new ArrayList<>();
        for (int range = 0; range < grid.ranges().size(); range++) {
            parts.add(Side.truth(ofOneRange.apply(CodesContractTest.range(grid, range))));
        }
        // a path that cuts k adds pieces about as large as any result
        double piece = Arrays.stream(truth).map(Math::abs).max().orElse(0);
        Close.assertWithin(Side.run(backend, operation), truth, i -> {
            double sum = Math.abs(truth[i]) + (inner > 1000 ? piece : 0);
            for (double[] part : parts) {
                sum += Math.abs(part[i]) + Math.abs(truth[i] - part[i]);
            }
            return 4 * Close.U * sum;
        }, "codes");
    }
}
