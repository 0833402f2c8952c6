package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.MatmulProblem;
import java.util.Optional;
import org.bytedeco.dnnl.global.dnnl;

/**
 * From a tile of results to a loss per group. For squared and absolute distances the product's post-operations have left
 * each element's loss, and a product with ones adds the rows, or the columns where rows belong to groups; cosine and Pearson need
 * sums along the rows, which are products with the indicator of the column groups.
 */
final class TileDistance {
    private static final int F32 = dnnl.dnnl_f32;
    /** As in the usual definition of cosine similarity. */
    private static final double SMALLEST_NORM = 1e-8;
    /** Square of an error, relative to the output's, up to which sums of the error are the more exact ones. */
    private static final double SMALL_ERROR = 0.25;

    private final Worker worker;
    private final MatmulProblem problem;
    private final int rows;
    private final int columns;
    private final long result;
    private final long output;
    private final boolean groupsOfRows;
    private final Primitive elementSums;
    private final Scratch sums;
    private final float[] numbers;
    private final long ones;

    /**
     * @param rows of the result
     * @param columns of the result
     * @param groupsOfRows whether rows are the groups, not columns; for squared and absolute distances
     * @param result address of what the product wrote, {@code [rows, columns]}
     * @param output address of what it is compared with, likewise
     */
    TileDistance(Worker worker, MatmulProblem problem, int rows, int columns, boolean groupsOfRows, long result, long output) {
        this.worker = worker;
        this.problem = problem;
        this.rows = rows;
        this.columns = columns;
        this.result = result;
        this.output = output;
        this.groupsOfRows = groupsOfRows;
        Layout tile = Layout.dense(F32, rows, columns);
        this.elementSums = worker.product(groupsOfRows
                ? new Worker.Product(tile, Layout.dense(F32, columns, 1), false, Layout.dense(F32, rows, 1), Epilogue.NONE)
                : new Worker.Product(Layout.dense(F32, 1, rows), tile, false, Layout.dense(F32, 1, columns), Epilogue.NONE)).primitive();
        this.numbers = new float[groupsOfRows ? rows : columns];
        this.sums = worker.memory("tile sums", (long) numbers.length * Float.BYTES);
        this.ones = ones(groupsOfRows ? columns : rows, 1);
    }

    /**
     * @param groups how many losses
     * @param head the tile's head where heads are the groups; -1 where columns or rows are
     */
    double[] perGroup(int groups, int head) {
        boolean elementwise = problem.distance() == Distance.SQUARED || problem.distance() == Distance.ABSOLUTE;
        if (head >= 0) {
            double[] losses = new double[groups];
            losses[groups == 1 ? 0 : head] = elementwise ? sums(1)[0] : similarityLosses(1)[0];
            return losses;
        }
        return elementwise ? sums(groups) : similarityLosses(groups);
    }

    /** The sum of all elements' losses, for squared and absolute distances. */
    double total() {
        return sums(1)[0];
    }

    private double[] sums(int groups) {
        elementSums.run(groupsOfRows ? result : ones, groupsOfRows ? ones : result, this.sums.address());
        this.sums.floats().get(0, numbers);
        double[] sums = new double[groups];
        int width = numbers.length / groups;
        for (int group = 0; group < groups; group++) {
            double sum = 0;
            for (int i = group * width; i < (group + 1) * width; i++) {
                sum += numbers[i];
            }
            sums[group] = sum;
        }
        return sums;
    }

    /**
     * One minus the similarity, from the sums of the error rather than of the result: near 1 the similarity itself has too
     * few digits in float32. Where the error is not small, the other way round.
     */
    private double[] similarityLosses(int groups) {
        Moments truths = moments(output, groups);
        Moments errors = moments(difference(), groups);
        Optional<Moments> results = Optional.empty();
        double[] losses = new double[groups];
        for (int row = 0; row < rows; row++) {
            for (int group = 0; group < groups; group++) {
                int at = row * groups + group;
                double truth = truths.product(at, truths);
                double relativeSquare = errors.square(at) / truth;
                if (relativeSquare < SMALL_ERROR && Math.sqrt(truth) > SMALLEST_NORM) {
                    double along = errors.product(at, truths) / truth;
                    double tangent = Math.max(0, relativeSquare - along * along) / ((1 + along) * (1 + along));
                    double secant = Math.sqrt(1 + tangent);
                    losses[group] += tangent / (secant * (secant + 1));
                } else {
                    Moments result = results.orElseGet(() -> moments(this.result, groups));
                    results = Optional.of(result);
                    double norms = Math.max(SMALLEST_NORM, Math.sqrt(Math.max(0, result.square(at))))
                            * Math.max(SMALLEST_NORM, Math.sqrt(Math.max(0, truth)));
                    // never below 0, by rounding: who stops early at a sum of losses relies on it
                    losses[group] += Math.max(0, 1 - result.product(at, truths) / norms);
                }
            }
        }
        return losses;
    }

    /** Sums along rows, by column group: of x times the output, of x squared, of x; centred for Pearson's correlation. */
    private record Moments(float[] products, float[] squares, float[] sums, int width) {
        double product(int at, Moments truths) {
            return sums.length == 0 ? products[at] : products[at] - (double) sums[at] * truths.sums[at] / width;
        }

        double square(int at) {
            return sums.length == 0 ? squares[at] : squares[at] - (double) sums[at] * sums[at] / width;
        }
    }

    private Moments moments(long x, int groups) {
        float[] products = rowSums("dots", multiplied(output, x), groups);
        float[] squares = x == output ? products : rowSums("squares", multiplied(x, x), groups);
        float[] sums = problem.distance() == Distance.PEARSON ? rowSums("sums", x, groups) : new float[0];
        return new Moments(products, squares, sums, columns / groups);
    }

    private long difference() {
        Layout tile = Layout.dense(F32, rows, columns);
        long difference = worker.scratch("tile difference", (long) rows * columns * Float.BYTES);
        worker.binary(dnnl.dnnl_binary_sub, tile, tile, tile, Epilogue.NONE).run(result, output, difference);
        return difference;
    }

    private long multiplied(long a, long b) {
        Layout tile = Layout.dense(F32, rows, columns);
        long product = worker.scratch("tile products", (long) rows * columns * Float.BYTES);
        worker.binary(dnnl.dnnl_binary_mul, tile, tile, tile, Epilogue.NONE).run(a, b, product);
        return product;
    }

    /** Sums of each row by column group, {@code [rows, groups]}. */
    private float[] rowSums(String purpose, long numbers, int groups) {
        int m = columns;
        long indicator = ones(m, groups);
        Scratch sums = worker.memory("tile " + purpose, (long) rows * groups * Float.BYTES);
        worker.product(new Worker.Product(Layout.dense(F32, rows, m), Layout.dense(F32, m, groups), false,
                Layout.dense(F32, rows, groups), Epilogue.NONE)).primitive().run(numbers, indicator, sums.address());
        float[] copy = new float[rows * groups];
        sums.floats().get(0, copy);
        return copy;
    }

    /** A {@code [count, groups]} matrix whose column g is 1 in the g-th part of the rows. */
    private long ones(int count, int groups) {
        String purpose = "ones " + count + "x" + groups;
        if (!worker.hasScratch(purpose)) {
            float[] matrix = new float[count * groups];
            for (int row = 0; row < count; row++) {
                matrix[row * groups + row / (count / groups)] = 1;
            }
            worker.memory(purpose, (long) matrix.length * Float.BYTES).floats().put(0, matrix);
        }
        return worker.scratch(purpose, 0);
    }
}
