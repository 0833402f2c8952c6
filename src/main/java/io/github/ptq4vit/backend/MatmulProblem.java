package io.github.ptq4vit.backend;

import java.util.List;
import java.util.Optional;

/**
 * A batched product {@code O = L R + bias} whose operands are to be quantised (ALGORITHM: every layer of a vision
 * transformer is one). A linear layer has batch 1; attention has one product per image and head, the head innermost.
 *
 * @param left L, {@code [batch, n, k]}, dense
 * @param right R, {@code [batch, k, m]} dense or with k and m exchanged in memory, as it must be where columns have groups
 * @param output O including the bias, {@code [batch, n, m]}, dense
 * @param weight w of {@link Distance#SQUARED}, as output, not negative; other distances have none, whatever is given
 * @param bias {@code [m]}
 * @param heads how many consecutive entries of the batch form one image; 1 for a linear layer
 * @param columnGroups into how many equal parts the columns of R are split, each with its own scale; 1 for attention
 * @param distance how outputs are compared
 * @param order for a batched product what can be scored separately, in the order that {@link Backend.Scoring#score} counts in;
 *     empty for whole images one after the other
 */
public record MatmulProblem(View left, View right, View output, Optional<View> weight, Optional<View> bias, int heads,
        int columnGroups, Distance distance, List<Unit> order) {

    /** Rows {@code [from, to)} of the products of all heads of an image. */
    public record Unit(int image, int from, int to) {
    }

    public MatmulProblem {
        boolean fits = left.rank() == 3 && right.rank() == 3 && output.rank() == 3 && left.size(2) == right.size(1)
                && output.size(1) == left.size(1) && output.size(2) == right.size(2) && left.size(0) == right.size(0)
                && left.size(0) == output.size(0) && left.size(0) % heads == 0 && output.size(2) % columnGroups == 0;
        if (!fits || weight.isPresent() && !java.util.Arrays.equals(weight.get().sizes(), output.sizes())) {
            throw new IllegalArgumentException("Operands do not fit: L " + left + ", R " + right + ", O " + output + ", w "
                    + weight + ", heads " + heads + ", column groups " + columnGroups);
        }
        if (!left.isDense() || !output.isDense() || !weight.map(View::isDense).orElse(true)
                || !bias.map(b -> b.isDense() && b.elements() == output.size(2)).orElse(true)
                || !right.transpose().isDense() && (columnGroups > 1 || !right.isDense())) {
            throw new IllegalArgumentException("Operands, outputs, weights and bias of a problem are dense, R with k and m exchanged"
                    + " in memory where columns have groups: L " + left + ", R " + right + ", O " + output + ", w " + weight + ", bias " + bias);
        }
        weight = distance == Distance.SQUARED ? weight : Optional.empty();
        order = List.copyOf(order);
        if (!order.isEmpty() && left.size(0) == 1) {
            throw new IllegalArgumentException("The units of a single product are its rows");
        }
        if (heads > 1 && columnGroups > 1) {
            throw new IllegalArgumentException("Heads and column groups exclude each other");
        }
    }

    /** With the units in their natural order. */
    public MatmulProblem(View left, View right, View output, Optional<View> weight, Optional<View> bias, int heads,
            int columnGroups, Distance distance) {
        this(left, right, output, weight, bias, heads, columnGroups, distance, List.of());
    }

    /** Number of products. */
    public int batch() {
        return left.size(0);
    }

    /** Rows of L and O. */
    public int n() {
        return left.size(1);
    }

    /** Columns of L, rows of R. */
    public int k() {
        return left.size(2);
    }

    /** Columns of R and O. */
    public int m() {
        return right.size(2);
    }

    /** How many groups of an operand may have scales of their own. */
    public int groups(Operand operand) {
        return operand == Operand.RIGHT ? Math.max(heads, columnGroups) : heads;
    }

    /** How many parts can be scored separately: the rows of a single product; of a batched one its order, or the images. */
    public int units() {
        return batch() == 1 ? n() : order.isEmpty() ? batch() / heads : order.size();
    }

    /** A unit of a batched product. */
    public Unit unit(int index) {
        return order.isEmpty() ? new Unit(index, 0, n()) : order.get(index);
    }
}
