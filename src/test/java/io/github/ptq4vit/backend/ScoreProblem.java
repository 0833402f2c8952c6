package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/**
 * A problem to score, the same on every side.
 *
 * @param images entries of the batch, or 1
 * @param heads products of an image
 * @param columnGroups of a linear layer
 * @param left how L is distributed and quantised
 * @param transposed whether R lies in memory as {@code [m, k]}
 */
record ScoreProblem(int images, int heads, int n, int k, int m, int columnGroups, Distance distance, boolean weighted,
        boolean biased, Left left, boolean transposed) {

    enum Left { UNIFORM, FLOAT, GELU_TWIN, SOFTMAX_TWIN, SOFTMAX_NEAREST, SOFTMAX_LEVELS }

    static ScoreProblem linear(int n, int k, int m) {
        return new ScoreProblem(1, 1, n, k, m, 1, Distance.SQUARED, true, true, Left.UNIFORM, true);
    }

    static ScoreProblem attention(int images, int heads, int n, int k, int m) {
        return new ScoreProblem(images, heads, n, k, m, 1, Distance.SQUARED, true, false, Left.UNIFORM, true);
    }

    ScoreProblem with(Left newLeft) {
        return new ScoreProblem(images, heads, n, k, m, columnGroups, distance, weighted, biased, newLeft, transposed);
    }

    ScoreProblem with(Distance newDistance) {
        return new ScoreProblem(images, heads, n, k, m, columnGroups, newDistance, weighted, biased, left, transposed);
    }

    ScoreProblem columns(int groups) {
        return new ScoreProblem(images, heads, n, k, m, groups, distance, weighted, biased, left, transposed);
    }

    ScoreProblem with(boolean newWeighted, boolean newBiased) {
        return new ScoreProblem(images, heads, n, k, m, columnGroups, distance, newWeighted, newBiased, left, transposed);
    }

    ScoreProblem plainRight() {
        return new ScoreProblem(images, heads, n, k, m, columnGroups, distance, weighted, biased, left, false);
    }

    /** Groups of the right operand: heads, or column groups. */
    int groups() {
        return heads > 1 ? heads : columnGroups;
    }

    MatmulProblem on(Side side) {
        int batch = images * heads;
        View l = side.upload(leftNumbers(batch));
        View r = transposed ? side.normal(2, batch, m, k).transpose() : side.normal(2, batch, k, m);
        Optional<View> bias = biased ? Optional.of(side.normal(3, m)) : Optional.empty();
        View output = side.upload(output());
        Optional<View> weight = weighted ? Optional.of(side.upload(weights(batch))) : Optional.empty();
        return new MatmulProblem(l, r, output, weight, bias, heads, columnGroups, distance);
    }

    private Tensor leftNumbers(int batch) {
        Random random = new Random(1);
        float[] numbers = new float[batch * n * k];
        for (int i = 0; i < numbers.length; i++) {
            double number = random.nextGaussian();
            numbers[i] = (float) switch (left) {
                case UNIFORM, FLOAT -> number;
                case GELU_TWIN -> number / (1 + Math.exp(-1.702 * number));
                case SOFTMAX_TWIN, SOFTMAX_NEAREST, SOFTMAX_LEVELS -> Math.min(1, Math.exp(2 * number - 4));
            };
        }
        return Tensor.of(Shape.of(batch, n, k), numbers);
    }

    /** Squares, some of them 0, of very different sizes. */
    private Tensor weights(int batch) {
        Random random = new Random(4);
        float[] numbers = new float[batch * n * m];
        for (int i = 0; i < numbers.length; i++) {
            double g = random.nextGaussian() * 1e-3 * Math.exp(random.nextGaussian());
            numbers[i] = i % 11 == 5 ? 0 : (float) (g * g);
        }
        return Tensor.of(Shape.of(batch, n, m), numbers);
    }

    /** The float32 output: the product rounded once. */
    private Tensor output() {
        try (PlainBackend plain = new PlainBackend(); Side side = Side.of(plain)) {
            int batch = images * heads;
            View o = side.scope.floats(batch, n, m);
            View r = transposed ? side.normal(2, batch, m, k).transpose() : side.normal(2, batch, k, m);
            plain.matmul(side.upload(leftNumbers(batch)), r, o);
            if (biased) {
                plain.add(o, side.normal(3, m), o);
            }
            return plain.download(o);
        }
    }

    /** Grids of the right operand for a bit width; group g of candidate i has its own step. */
    List<CodeGrid> rightGrids(int bits, int candidate, int groups) {
        List<CodeGrid> grids = new ArrayList<>();
        for (int group = 0; group < groups; group++) {
            grids.add(CodesContractTest.uniform(1 << bits - 1, step(3.3, bits, candidate, group)));
        }
        return grids;
    }

    /** Grids of the left operand; none for a float one. */
    List<CodeGrid> leftGrids(int bits, int candidate, int groups) {
        int q = 1 << bits - 1;
        List<CodeGrid> grids = new ArrayList<>();
        for (int group = 0; group < groups && left != Left.FLOAT; group++) {
            float step = step(3.5, bits, candidate, group);
            grids.add(switch (left) {
                case UNIFORM, FLOAT -> CodesContractTest.uniform(q, step);
                case GELU_TWIN -> CodesContractTest.geluTwin(q, 0.17f / q, step, false);
                case SOFTMAX_TWIN -> CodesContractTest.softmaxTwin(q, 1 + (candidate + group) % 6, false);
                case SOFTMAX_NEAREST -> CodesContractTest.softmaxTwin(q, 1 + (candidate + group) % 6, true);
                case SOFTMAX_LEVELS -> levels(bits, 4 + (candidate + group) % 6);
            });
        }
        return grids;
    }

    /** A grid of levels up to 1, equally far apart in their logarithms over so many octaves; all such grids have the same steps. */
    static CodeGrid levels(int bits, int octaves) {
        int count = 1 << bits;
        float[] bounds = new float[count - 1];
        byte[] coarse = new byte[count];
        byte[] fine = new byte[count];
        for (int level = 1; level < count; level++) {
            double value = Math.pow(2, (double) (level + 1 - count) * octaves / count);
            bounds[level - 1] = CodeTable.truncated((float) (value * Math.pow(2, -0.5 * octaves / count)));
            boolean large = value * 127 >= 7.5;
            (large ? coarse : fine)[level] = (byte) Math.round(value * 127 * (large ? 1 : 16));
        }
        return CodeGrid.of(new CodeTable(bounds, coarse, fine), 1f / 127, 1f / 127 / 16);
    }

    private static float step(double largest, int bits, int candidate, int group) {
        return (float) (largest / ((1 << bits - 1) - 0.5) * (0.4 + 0.21 * candidate + 0.03 * (group % 5)));
    }
}
