package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Float32 products against the plain backend's. A sum of k products may be off by sqrt(k) roundings of its magnitudes. */
@EveryBackend
class ProductsContractTest {
    private final Backend backend;

    ProductsContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @ParameterizedTest(name = "{0} rows, {1} inputs, {2} outputs")
    @CsvSource({"1, 1, 1", "1, 4, 6", "4, 6, 13", "6, 13, 17", "13, 1, 65", "17, 65, 1", "65, 197, 13", "197, 65, 197",
        "1, 768, 6", "13, 576, 768", "197, 768, 65", "67, 4096, 17"})
    void aLinearLayerMultipliesForwardsAndBackwards(int rows, int inputs, int outputs) {
        for (boolean bias : new boolean[] {true, false}) {
            agrees(inputs, side -> {
                Backend.Linear weights = side.backend.linear(side.scope, side.normalTensor(1, outputs, inputs),
                        side.bias(bias, outputs));
                View y = side.scope.floats(rows, outputs);
                side.backend.linear(side.normal(2, rows, inputs), weights, y);
                return y;
            });
        }
        agrees(outputs, side -> {
            Backend.Linear weights = side.backend.linear(side.scope, side.normalTensor(1, outputs, inputs), side.bias(true, outputs));
            View dx = side.scope.floats(rows, inputs);
            side.backend.linearBackward(side.normal(2, rows, outputs), weights, dx);
            return dx;
        });
    }

    @Test
    void oneLinearLayerServesAnyNumberOfRowsInBothDirections() {
        agrees(65, side -> {
            Backend.Linear weights = side.backend.linear(side.scope, side.normalTensor(1, 65, 65), side.bias(true, 65));
            View y = side.scope.floats(4, 50, 65);
            View x = side.normal(2, 4, 50, 65);
            side.backend.linear(x.slice(0, 0, 1), weights, y.slice(0, 0, 1));
            side.backend.linear(x.slice(0, 1, 3), weights, y.slice(0, 1, 3));
            side.backend.linearBackward(x.slice(0, 3, 4), weights, y.slice(0, 3, 4));
            side.backend.linear(x.reshape(200, 65).slice(0, 7, 8), weights, y.reshape(200, 65).slice(0, 7, 8));
            return y;
        });
    }

    @Test
    void aLinearLayerRefusesStridedRows() {
        try (Side side = Side.of(backend)) {
            Backend.Linear weights = backend.linear(side.scope, side.normalTensor(1, 6, 4), side.bias(false, 6));
            View wide = side.normal(2, 3, 24);
            View narrow = side.scope.floats(3, 6);
            View input = side.normal(2, 3, 4);
            assertThrows(IllegalArgumentException.class, () -> backend.linear(wide.slice(1, 0, 4), weights, narrow));
            assertThrows(IllegalArgumentException.class, () -> backend.linear(input, weights, wide.slice(1, 0, 6)));
            assertThrows(IllegalArgumentException.class, () -> backend.linearBackward(wide.slice(1, 0, 6), weights, input));
            assertThrows(IllegalArgumentException.class, () -> backend.linear(input, weights, side.scope.floats(3, 7)));
        }
    }

    @Test
    void integerWeightsDoNotServeFloatProductsNorFloatWeightsIntegerOnes() {
        try (Side side = Side.of(backend)) {
            Backend.Linear codes = backend.linear(side.scope, new byte[24], new float[6], 4, side.bias(false, 6));
            Backend.Linear numbers = backend.linear(side.scope, side.normalTensor(1, 6, 4), side.bias(false, 6));
            View x = side.normal(2, 3, 4);
            View y = side.scope.floats(3, 6);
            CodeGrid grid = CodeGrid.of(CodeRange.unlimited(1, -128, 127));
            assertThrows(IllegalArgumentException.class, () -> backend.linear(x, codes, y));
            assertThrows(IllegalArgumentException.class, () -> backend.linearBackward(y, codes, x));
            assertThrows(IllegalArgumentException.class, () -> backend.linear(x, grid, numbers, y));
        }
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "4, 6, 13", "13, 17, 1", "1, 65, 17", "17, 4, 65", "65, 197, 6", "197, 65, 197"})
    void batchedProductsOfDenseAndTransposedOperands(int n, int k, int m) {
        for (int form = 0; form < 8; form++) {
            boolean leftTransposed = (form & 1) != 0;
            boolean rightTransposed = (form & 2) != 0;
            boolean resultTransposed = (form & 4) != 0;
            agrees(k, side -> {
                View a = leftTransposed ? side.normal(1, 2, 3, k, n).transpose() : side.normal(1, 2, 3, n, k);
                View b = rightTransposed ? side.normal(2, 2, 3, m, k).transpose() : side.normal(2, 2, 3, k, m);
                View memory = resultTransposed ? side.scope.floats(2, 3, m, n) : side.scope.floats(2, 3, n, m);
                side.backend.matmul(a, b, resultTransposed ? memory.transpose() : memory);
                return memory;
            });
        }
    }

    @ParameterizedTest(name = "{0} tokens")
    @ValueSource(ints = {1, 4, 13, 50, 197})
    void attentionReadsAndWritesWindowsOfTheQkvRows(int tokens) {
        int images = 2;
        int heads = 3;
        int dim = 17;
        agrees(dim, side -> {
            View qkv = heads(side.normal(1, images, tokens, 3 * heads * dim), heads);
            View scores = side.scope.floats(images, heads, tokens, tokens);
            side.backend.matmul(qkv.at(0), qkv.at(1).transpose(), scores);
            return scores;
        });
        agrees(tokens, side -> {
            View qkv = heads(side.normal(1, images, tokens, 3 * heads * dim), heads);
            View output = side.filled(7, images, tokens, heads * dim);
            side.backend.matmul(side.normal(2, images, heads, tokens, tokens), qkv.at(2),
                    output.split(2, heads).permute(0, 2, 1, 3));
            return output;
        });
        agrees(tokens, side -> {
            View qkv = heads(side.normal(1, images, tokens, 3 * heads * dim), heads);
            View gradient = side.filled(7, images, tokens, 3 * heads * dim);
            View scores = side.normal(3, images, heads, tokens, tokens);
            // the gradients of q and k; the window of v stays as it was
            side.backend.matmul(scores, qkv.at(1), heads(gradient, heads).at(0));
            side.backend.matmul(scores.transpose(), qkv.at(0), heads(gradient, heads).at(1));
            return gradient;
        });
    }

    @ParameterizedTest(name = "{0} images, {1} heads")
    @CsvSource({"1, 1", "1, 2", "1, 3", "2, 1", "2, 3"})
    void operandsOfAnyLayoutAlsoOfOneImageOrOneHead(int images, int heads) {
        int[][] products = {{17, 17, 32}, {17, 32, 17}, {1, 9, 7}, {7, 9, 1}, {1, 1, 8}};
        for (int[] nkm : products) {
            for (int form = 0; form < 5 * 5 * 5; form++) {
                int a = form % 5;
                int b = form / 5 % 5;
                int c = form / 25;
                agrees(nkm[1], side -> {
                    View result = window(side, 0, c, images, heads, nkm[0], nkm[2]);
                    side.backend.matmul(window(side, 1, a, images, heads, nkm[0], nkm[1]),
                            window(side, 2, b, images, heads, nkm[1], nkm[2]), result);
                    View dense = side.scope.floats(result.sizes());
                    side.backend.copy(result, dense);
                    return dense;
                });
            }
        }
    }

    /** Numbers as {@code [images, heads, rows, columns]}: dense, transposed, of rows of heads, of qkv rows, of transposed rows. */
    private static View window(Side side, long seed, int form, int images, int heads, int rows, int columns) {
        return switch (form) {
            case 0 -> side.normal(seed, images, heads, rows, columns);
            case 1 -> side.normal(seed, images, heads, columns, rows).transpose();
            case 2 -> side.normal(seed, images, rows, heads * columns).split(2, heads).permute(0, 2, 1, 3);
            case 3 -> heads(side.normal(seed, images, rows, 3 * heads * columns), heads).at(1);
            default -> side.normal(seed, images, columns, heads * rows).split(2, heads).permute(0, 2, 3, 1);
        };
    }

    @Test
    void operandsMayHaveGapsInBothAxes() {
        agrees(5, side -> {
            View a = side.normal(1, 2, 4, 3, 5, 2).permute(4, 0, 2, 1, 3).at(1);
            View b = side.normal(2, 2, 5, 3, 6, 2).permute(4, 0, 2, 1, 3).at(0);
            View memory = side.filled(7, 2, 4, 3, 6, 2);
            side.backend.matmul(a, b, memory.permute(4, 0, 2, 1, 3).at(1));
            return memory;
        });
    }

    /** The windows q, k and v of {@code [images, tokens, 3 heads dim]} as {@code [3, images, heads, tokens, dim]}. */
    static View heads(View rows, int heads) {
        return rows.split(2, 3).split(3, heads).permute(2, 0, 3, 1, 4);
    }

    private void agrees(int terms, Function<Side, View> operation) {
        double[] truth = Side.truth(operation);
        Close.assertWithin(Side.run(backend, operation), truth, Close.sums(Side.magnitudes(operation), terms),
                Arrays.toString(new int[] {terms}));
    }
}
