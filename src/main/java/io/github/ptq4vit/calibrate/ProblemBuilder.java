package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * Lays a layer's data out for a search: dense, the rows (for attention the images) with the largest weights first, rows
 * without any weight left out. Neither changes a loss; the order lets a progressive search see most of it early.
 */
final class ProblemBuilder {
    private static final int FIRST_PART = 32;
    private static final int ROWS_OF_A_PART = 64;

    private final Backend backend;
    private final Scope scope;
    private final Metric metric;

    /** @param scope owns what is built */
    ProblemBuilder(Backend backend, Scope scope, Metric metric) {
        this.backend = backend;
        this.scope = scope;
        this.metric = metric;
    }

    /** The problem of a layer with weights. */
    MatmulProblem linear(LayerData data, VisionTransformer model, int columnGroups) {
        Tensor weight = model.weight(data.layer());
        int rows = data.left().size(0);
        int k = data.left().size(1);
        int m = data.output().size(1);
        Optional<View> weights = weights(data);
        int[] order = weights.map(w -> heaviestFirst(backend.rowSums(w))).orElse(new int[0]);
        if (order.length == 0) {
            // no weights, or none that differs from zero: all rows count alike
            weights = Optional.empty();
        }
        int kept = order.length == 0 ? rows : order.length;
        View left = rows(data.left(), order, kept, k).reshape(1, kept, k);
        View output = rows(data.output(), order, kept, m).reshape(1, kept, m);
        Optional<View> sorted = weights.map(w -> rows(w, order, kept, m).reshape(1, kept, m));
        View right = scope.floats(1, m, k);
        backend.upload(weight.reshape(1, m, k), right);
        Optional<View> bias = model.bias(data.layer()).map(b -> {
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
        Optional<View> weights = weights(data).map(this::dense);
        double[] sums = weights.map(backend::rowSums).orElse(new double[0]);
        if (DoubleStream.of(sums).allMatch(sum -> sum == 0)) {
            weights = Optional.empty();
        }
        // images by their total weight; of each, the rows that have any in some image and head
        int[] imageOrder = IntStream.range(0, images).toArray();
        int[] rowsKept = IntStream.range(0, n).toArray();
        if (weights.isPresent()) {
            double[] perImage = new double[images];
            boolean[] used = new boolean[n];
            for (int i = 0; i < sums.length; i++) {
                perImage[i / (heads * n)] += sums[i];
                used[i % n] |= sums[i] != 0;
            }
            imageOrder = heaviestFirst(perImage);
            rowsKept = IntStream.range(0, n).filter(row -> used[row]).toArray();
        }
        int batch = imageOrder.length * heads;
        int kept = rowsKept.length;
        int[] rows = new int[batch * kept];
        int[] products = new int[batch];
        for (int i = 0; i < batch; i++) {
            products[i] = imageOrder[i / heads] * heads + i % heads;
            for (int row = 0; row < kept; row++) {
                rows[i * kept + row] = products[i] * n + rowsKept[row];
            }
        }
        View left = gathered(data.left(), rows, batch, kept);
        View output = gathered(data.output(), rows, batch, kept);
        Optional<View> sorted = weights.map(w -> gathered(w, rows, batch, kept));
        boolean transposed = right.stride(2) == 1;
        View plain = dense(transposed ? right.transpose() : right);
        View ordered = scope.floats(batch, plain.size(2), plain.size(3));
        backend.gather(plain.reshape(batch, plain.size(2), plain.size(3)), products, ordered);
        return new MatmulProblem(left, transposed ? ordered.transpose() : ordered, output, sorted, Optional.empty(), heads, 1,
                metric.distance());
    }

    /** Ends of the growing parts of a problem: about 1/32 of the units, then twice as many each time. */
    static int[] parts(MatmulProblem problem) {
        int units = problem.units();
        int smallest = problem.batch() == 1 ? ROWS_OF_A_PART : 1;
        IntStream.Builder ends = IntStream.builder();
        for (int part = FIRST_PART; part > 1; part /= 2) {
            int end = (units + part - 1) / part;
            end = (end + smallest - 1) / smallest * smallest;
            if (end < units) {
                ends.add(end);
            }
        }
        ends.add(units);
        return ends.build().distinct().toArray();
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
        View plain = dense(output);
        View power = scope.floats(plain.sizes());
        if (square) {
            backend.zero(power);
            backend.addSquare(plain, 1, power);
        } else {
            backend.magnitudes(plain, power);
        }
        return power;
    }

    /** Indices by falling weight, those without weight left out. */
    private static int[] heaviestFirst(double[] weights) {
        return IntStream.range(0, weights.length).filter(i -> weights[i] != 0).boxed()
                .sorted(Comparator.<Integer>comparingDouble(i -> -weights[i]).thenComparing(i -> i)).mapToInt(i -> i).toArray();
    }

    private View rows(View matrix, int[] order, int kept, int columns) {
        if (order.length == 0) {
            return matrix;
        }
        View sorted = scope.floats(kept, columns);
        backend.gather(matrix, order, sorted);
        return sorted;
    }

    private View gathered(View perHead, int[] rows, int batch, int kept) {
        View plain = dense(perHead);
        int length = plain.size(3);
        View sorted = scope.floats(batch, kept, length);
        backend.gather(plain.reshape(Math.toIntExact(plain.elements() / length), length), rows,
                sorted.reshape(batch * kept, length));
        return sorted;
    }

    private View dense(View view) {
        if (view.isDense()) {
            return view;
        }
        View copy = scope.floats(view.sizes());
        backend.parallel(view.size(0), (from, to, inner) -> backend.copy(view.slice(0, from, to), copy.slice(0, from, to)));
        return copy;
    }
}
