package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * What the operations of a {@link Backend} take. Every implementation of an operation calls its check first, so that all
 * backends refuse the same arguments in the same words, before any memory is read.
 */
public final class Checks {
    private Checks() {
    }

    private static void require(boolean fits, String operation, Object... arguments) {
        if (!fits) {
            throw new IllegalArgumentException("These do not fit " + operation + ": " + Arrays.toString(arguments));
        }
    }

    private static void dense(String operation, View... views) {
        for (View view : views) {
            require(view.buffer().type() == DataType.FLOAT32 && view.isDense(), operation + ", which takes dense float32 views", view);
        }
    }

    private static void bias(Optional<Tensor> bias, int outputs) {
        bias.ifPresent(b -> require(b.shape().equals(Shape.of(outputs)), "a bias of " + outputs + " outputs", b.shape()));
    }

    /** {@link Backend#upload}. */
    public static void upload(Tensor from, View to) {
        dense("an upload", to);
        require(from.shape().elements() == to.elements(), "an upload", from.shape(), to);
    }

    /** {@link Backend#download}. */
    public static void download(View from) {
        dense("a download", from);
    }

    /** {@link Backend#linear(Scope, Tensor, Optional)}. */
    public static void weights(Tensor weight, Optional<Tensor> bias) {
        require(weight.shape().rank() == 2, "weights [outputs, inputs]", weight.shape());
        bias(bias, weight.shape().size(0));
    }

    /** {@link Backend#linear(Scope, byte[], float[], int, Optional)}. */
    public static void weights(byte[] codes, float[] steps, int inputs, Optional<Tensor> bias) {
        require(codes.length == (long) steps.length * inputs, "codes [outputs, inputs]", codes.length, steps.length, inputs);
        bias(bias, steps.length);
    }

    /** {@link Backend#linear(View, Backend.Linear, View)}; {@link Backend#linearBackward} with x and y for dx and dy. */
    public static void linear(View x, Backend.Linear weights, View y) {
        require(x.rank() > 0 && y.rank() > 0 && x.size(-1) == weights.inputs() && y.size(-1) == weights.outputs()
                && x.elements() / weights.inputs() == y.elements() / weights.outputs(),
                "a layer with " + weights.inputs() + " inputs and " + weights.outputs() + " outputs", x, y);
        dense("a linear layer", x, y);
    }

    /** {@link Backend#linear(View, CodeGrid, Backend.Linear, View)}. */
    public static void linear(View x, CodeGrid grid, Backend.Linear weights, View y) {
        linear(x, weights, y);
        grid.requireRows(RowScale.RANGE);
    }

    /** {@link Backend#linear(View, RowTransform, CodeGrid, Backend.Linear, View)}. */
    public static void linear(View x, RowTransform transform, CodeGrid grid, Backend.Linear weights, View y) {
        linear(x, grid, weights, y);
        transform.factors().ifPresent(factors -> multiply(x, factors, x));
        transform.shifts().ifPresent(shifts -> multiply(x, shifts, x));
        HostOperations.requireBlock(transform.hadamard(), weights.inputs());
    }

    /** {@link Backend#matmul(View, View, View)}. */
    public static void matmul(View a, View b, View c) {
        int rank = a.rank();
        boolean fits = rank >= 2 && b.rank() == rank && c.rank() == rank && b.size(-2) == a.size(-1) && c.size(-2) == a.size(-2)
                && c.size(-1) == b.size(-1);
        for (int axis = 0; fits && axis < rank - 2; axis++) {
            fits = b.size(axis) == a.size(axis) && c.size(axis) == a.size(axis);
        }
        for (View view : new View[] {a, b, c}) {
            fits &= view.buffer().type() == DataType.FLOAT32;
        }
        require(fits, "a product", a, b, c);
    }

    /** {@link Backend#matmul(View, List, View, List, View)}. */
    public static void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        matmul(a, b, c);
        require(a.rank() == 4, "a product of [images, heads, rows, columns]", a, b, c);
        int heads = a.size(1);
        gridsA.forEach(grid -> grid.requireRows(RowScale.SUM, RowScale.RANGE));
        gridsB.forEach(grid -> grid.requireRows(RowScale.RANGE));
        require((gridsA.size() == 1 || gridsA.size() == heads) && (gridsB.size() == 1 || gridsB.size() == heads),
                "a product of " + heads + " heads, which takes a grid for all or one a head", gridsA, gridsB);
        oneRange(gridsB);
    }

    private static void oneRange(List<CodeGrid> right) {
        require(right.stream().allMatch(grid -> grid.ranges().size() == 1),
                "the right operand of a product: only the left one may have two ranges of codes", right);
    }

    /** Any operation that takes dense arrays of as many numbers. */
    public static void alike(View x, View... others) {
        dense("this operation", x);
        dense("this operation", others);
        for (View other : others) {
            require(other.elements() == x.elements(), "an operation on arrays of one size", x, other);
        }
    }

    /** Any operation on the rows of dense arrays of as many numbers. */
    public static void rows(View x, View... others) {
        alike(x, others);
        require(x.rank() > 0 && x.size(-1) > 0, "an operation on rows", x);
    }

    /** {@link Backend#layerNorm} and, with gamma for beta, its gradient: vectors are as long as the rows. */
    public static void layerNorm(View x, View gamma, View beta, View... others) {
        rows(x, others);
        dense("a layer normalisation", gamma, beta);
        require(gamma.elements() == x.size(-1) && beta.elements() == x.size(-1), "the rows of a layer normalisation", x, gamma, beta);
    }

    /** {@link Backend#add}. */
    public static void add(View a, View b, View c) {
        alike(a, c);
        dense("an addition", b);
        require(b.elements() > 0 && b.rank() <= a.rank() && Arrays.equals(a.sizes(), a.rank() - b.rank(), a.rank(), b.sizes(), 0, b.rank()),
                "an addition, whose second operand has the last axes of the first", a, b);
    }

    /** {@link Backend#multiply}. */
    public static void multiply(View x, View factors, View y) {
        rows(x, y);
        dense("a multiplication", factors);
        require(factors.elements() == x.size(-1), "a multiplication of rows", x, factors);
    }

    /** {@link Backend#copy}. */
    public static void copy(View from, View to) {
        require(Arrays.equals(from.sizes(), to.sizes()), "a copy", from, to);
        require(from.buffer().type() == to.buffer().type() || from.buffer().type() == DataType.INT8,
                "a copy: numbers are not rounded to codes", from, to);
    }

    /** {@link Backend#gather}. */
    public static void gather(View from, int[] rows, View to) {
        dense("a choice of rows", from, to);
        require(from.rank() > 0 && to.rank() > 0 && to.size(0) == rows.length && from.elements() * rows.length
                == to.elements() * from.size(0), "a choice of " + rows.length + " rows", from, to);
        for (int row : rows) {
            require(row >= 0 && row < from.size(0), "a choice of rows", from, row);
        }
    }

    /** {@link Backend#quantize}. */
    public static void quantize(View x, CodeGrid grid, int range, View codes) {
        dense("quantisation", x);
        require(codes.buffer().type() == DataType.INT8 && codes.isDense() && codes.elements() == x.elements(), "quantisation", x, codes);
        require(range >= 0 && range < grid.ranges().size(), "quantisation in one range of a grid", range, grid);
    }

    /** {@link Backend#hadamard}. */
    public static void hadamard(View x, int block, View y) {
        rows(x, y);
        HostOperations.requireBlock(block, x.size(-1));
    }

    /** {@link Backend#squaredErrors} and {@link Backend#maxima}. */
    public static void groups(View x, View... others) {
        alike(x, others);
        require(x.rank() == 3 && x.elements() > 0, "an operation on [outer, groups, inner]", x);
    }

    /** {@link Backend.Scoring#score}. */
    public static void score(MatmulProblem problem, Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, int from, int to) {
        require(from >= 0 && to <= problem.units() && from < to, "a problem of " + problem.units() + " units", from, to);
        boolean left = searched == Operand.LEFT;
        int most = problem.groups(searched);
        int mostFixed = problem.groups(left ? Operand.RIGHT : Operand.LEFT);
        require(fixed.size() == 1 || fixed.size() == mostFixed || fixed.isEmpty() && !left,
                "the fixed operand, which has one grid or " + mostFixed, fixed.size());
        fixed.forEach(CodeGrid::requireRows);
        require(candidates.count() == 0 || candidates.groups() == 1 || candidates.groups() == most,
                "candidates, which have one grid or " + most, candidates.groups());
        List<CodeGrid> kinds = candidates.kinds();
        for (CodeGrid kind : kinds) {
            kind.requireRows();
            require(kind.ranges().size() == kinds.get(0).ranges().size(), "candidates of equally many ranges", kind);
        }
        oneRange(left ? fixed : kinds);
    }
}
