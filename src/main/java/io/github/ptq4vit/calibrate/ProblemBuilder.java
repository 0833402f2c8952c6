package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.IntToDoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Lays a layer's data out for a search: dense, the rows (for attention of each image) with the largest weights first, rows
 * without any weight left out. Neither changes a loss; the order lets a progressive search see most of it early.
 */
final class ProblemBuilder {
    private static final int FIRST_PART = 64;
    private static final double GROWTH = 1.5;
    private static final int ROWS_OF_A_PART = 64;
    private static final int BLOCK_ROWS = 16;

    private final Backend backend;
    private final Parallel parallel;
    private final Scope scope;
    private final Metric metric;

    /** @param scope owns what is built */
    ProblemBuilder(Backend backend, Scope scope, Metric metric) {
        this.backend = backend;
        this.parallel = new Parallel(backend);
        this.scope = scope;
        this.metric = metric;
    }

    /**
     * The problem of a layer with weights.
     *
     * @param weight {@code [outputs, inputs]}
     */
    MatmulProblem linear(LayerData data, Tensor weight, Optional<Tensor> weightBias, int columnGroups) {
        int rows = data.left().size(0);
        int k = data.left().size(1);
        int m = data.output().size(1);
        Optional<View> all = weights(data);
        int[] order = all.map(w -> heaviestFirst(expectedLosses(parallel.rowSums(w), data.left()), true)).orElse(new int[0]);
        // no weights, or none that differs from zero: all rows count alike
        Optional<View> weights = order.length == 0 ? Optional.empty() : all;
        int kept = order.length == 0 ? rows : order.length;
        View left = rows(data.left(), order, kept, k).reshape(1, kept, k);
        View output = rows(data.output(), order, kept, m).reshape(1, kept, m);
        Optional<View> sorted = weights.map(w -> rows(w, order, kept, m).reshape(1, kept, m));
        View right = scope.floats(1, m, k);
        backend.upload(weight.reshape(1, m, k), right);
        Optional<View> bias = weightBias.map(b -> {
            View view = scope.floats(m);
            backend.upload(b, view);
            return view;
        });
        return new MatmulProblem(left, right.transpose(), output, sorted, bias, 1, columnGroups, metric.distance());
    }

    /** The problem of a product of attention. */
    MatmulProblem attention(LayerData data) {
        View right = data.right().orElseThrow();
        int images = data.left().size(0);
        int heads = data.left().size(1);
        int n = data.left().size(2);
        Optional<View> all = weights(data).map(w -> parallel.dense(w, scope));
        double[] sums = all.map(parallel::rowSums).orElse(new double[0]);
        Optional<View> weights = DoubleStream.of(sums).allMatch(sum -> sum == 0) ? Optional.empty() : all;
        int batch = images * heads;
        // of each product the heaviest rows first; those without weight, which come last, left out
        int[] rows = IntStream.range(0, batch * n).toArray();
        int kept = n;
        if (weights.isPresent()) {
            kept = 0;
            for (int first = 0; first < batch * n; first += n) {
                double[] own = Arrays.copyOfRange(sums, first, first + n);
                kept = Math.max(kept, (int) DoubleStream.of(own).filter(sum -> sum != 0).count());
                int[] order = heaviestFirst(own, false);
                for (int row = 0; row < n; row++) {
                    rows[first + row] = first + order[row];
                }
            }
        }
        int length = kept;
        int[] keptRows = IntStream.range(0, batch * kept).map(i -> rows[i / length * n + i % length]).toArray();
        View left = gathered(data.left(), keptRows, batch, kept);
        View output = gathered(data.output(), keptRows, batch, kept);
        Optional<View> sorted = weights.map(w -> gathered(w, keptRows, batch, length));
        List<MatmulProblem.Unit> order = weights.isEmpty() ? List.of()
                : heaviestUnits(images, heads, n, kept, i -> sums[rows[i]]);
        boolean transposed = right.stride(2) == 1;
        View plain = parallel.dense(transposed ? right.transpose() : right, scope);
        View products = plain.reshape(batch, plain.size(2), plain.size(3));
        return new MatmulProblem(left, transposed ? products.transpose() : products, output, sorted, Optional.empty(), heads, 1,
                metric.distance(), order);
    }

    /** Two blocks of rows of all heads of an image, a quarter and the light rest; the heaviest blocks first. */
    private static List<MatmulProblem.Unit> heaviestUnits(int images, int heads, int n, int kept, IntToDoubleFunction weight) {
        int[] bounds = kept < 4 * BLOCK_ROWS ? new int[] {0, kept}
                : new int[] {0, rounded(kept / 4), kept};
        List<MatmulProblem.Unit> units = new ArrayList<>();
        List<Double> weights = new ArrayList<>();
        for (int image = 0; image < images; image++) {
            for (int block = 1; block < bounds.length; block++) {
                MatmulProblem.Unit unit = new MatmulProblem.Unit(image, bounds[block - 1], bounds[block]);
                double sum = 0;
                for (int head = 0; head < heads; head++) {
                    int start = (image * heads + head) * n;
                    sum += IntStream.range(start + unit.from(), start + unit.to()).mapToDouble(weight).sum();
                }
                units.add(unit);
                weights.add(sum / (unit.to() - unit.from()));
            }
        }
        return IntStream.of(heaviestFirst(weights.stream().mapToDouble(w -> w).toArray(), false)).mapToObj(units::get).toList();
    }

    private static int rounded(int rows) {
        return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS;
    }

    /** Ends of the growing parts of a problem: the first at about 1/64 of the rows, each half as far again as the one before. */
    static int[] parts(MatmulProblem problem) {
        int units = problem.units();
        boolean single = problem.batch() == 1;
        long[] rows = IntStream.range(0, units).mapToLong(i -> single ? 1 : problem.unit(i).to() - problem.unit(i).from())
                .toArray();
        long total = LongStream.of(rows).sum();
        IntStream.Builder ends = IntStream.builder();
        long seen = 0;
        double part = FIRST_PART;
        for (int i = 0; i < units - 1; i++) {
            seen += rows[i];
            if (part > 1 && seen * part >= total && (!single || (i + 1) % ROWS_OF_A_PART == 0)) {
                ends.add(i + 1);
                while (part > 1 && seen * part >= total) {
                    part /= GROWTH;
                }
            }
        }
        return ends.add(units).build().distinct().toArray();
    }

    /**
     * What rows will lose, up to a factor: an error of the weights grows with the input, an error of the input does not; both
     * count by the row's weight.
     */
    private double[] expectedLosses(double[] weights, View inputs) {
        double[] expected = parallel.squaredNorms(inputs);
        double mean = DoubleStream.of(expected).average().orElse(0);
        for (int i = 0; i < expected.length; i++) {
            expected[i] = weights[i] * (expected[i] + mean);
        }
        return expected;
    }

    private Optional<View> weights(LayerData data) {
        return switch (metric) {
            case HESSIAN -> data.gradient();
            case LINEAR_WEIGHTED_L2 -> Optional.of(outputPower(data.output(), false));
            case SQUARE_WEIGHTED_L2 -> Optional.of(outputPower(data.output(), true));
            default -> Optional.empty();
        };
    }

    private View outputPower(View output, boolean square) {
        View plain = parallel.dense(output, scope);
        View power = scope.floats(plain.sizes());
        if (square) {
            backend.zero(power);
            backend.addSquare(plain, 1, power);
        } else {
            backend.magnitudes(plain, power);
        }
        return power;
    }

    /** Indices by falling weight; weights are not negative. */
    private static int[] heaviestFirst(double[] weights, boolean withoutZeros) {
        // the bits of such numbers sort like the numbers; the index in the lower half decides ties
        long[] keys = new long[weights.length];
        int count = 0;
        for (int i = 0; i < weights.length; i++) {
            if (!withoutZeros || weights[i] != 0) {
                keys[count++] = (long) ~Float.floatToIntBits((float) weights[i]) << 32 | i;
            }
        }
        Arrays.sort(keys, 0, count);
        int[] order = new int[count];
        for (int i = 0; i < count; i++) {
            order[i] = (int) keys[i];
        }
        return order;
    }

    private View rows(View matrix, int[] order, int kept, int columns) {
        if (order.length == 0) {
            return matrix;
        }
        View sorted = scope.floats(kept, columns);
        parallel.gather(matrix, order, sorted);
        return sorted;
    }

    private View gathered(View perHead, int[] rows, int batch, int kept) {
        View plain = parallel.dense(perHead, scope);
        int length = plain.size(3);
        View sorted = scope.floats(batch, kept, length);
        parallel.gather(plain.reshape(Math.toIntExact(plain.elements() / length), length), rows,
                sorted.reshape(batch * kept, length));
        return sorted;
    }
}
