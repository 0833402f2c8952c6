package io.github.ptq4vit.export;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/**
 * Grids of an operand, and which indices of its second axis belong to which: one for everything, one a head, or one for the tokens
 * at the start and one for the others.
 *
 * @param grids one or more of equal kind
 * @param groupOf the grid of each index; none if there is but one grid
 * @param rank axes of the operand from the second on
 */
record OperandGroups(List<CodeGrid> grids, int[] groupOf, int rank) {

    /** One grid for everything. */
    static OperandGroups one(CodeGrid grid) {
        return new OperandGroups(List.of(grid), new int[0], 0);
    }

    /** Heads of {@code [.., heads, n, k]}. */
    static OperandGroups heads(List<CodeGrid> grids) {
        return of(grids, IntStream.range(0, grids.size()).toArray(), 3);
    }

    /** Tokens of {@code [.., tokens, length]}, the second grid for those at the start. */
    static OperandGroups tokens(List<CodeGrid> grids, int tokens, int prefix) {
        return of(grids, IntStream.range(0, tokens).map(token -> token < prefix ? 1 : 0).toArray(), 2);
    }

    /** Channels of {@code [.., heads * length]}, a grid a head. */
    static OperandGroups channels(List<CodeGrid> grids, int dim) {
        return of(grids, IntStream.range(0, dim).map(channel -> channel * grids.size() / dim).toArray(), 1);
    }

    private static OperandGroups of(List<CodeGrid> grids, int[] groupOf, int rank) {
        boolean same = grids.stream().distinct().count() == 1;
        return same ? new OperandGroups(List.of(grids.get(0)), new int[0], rank) : new OperandGroups(grids, groupOf, rank);
    }

    /** Whether one grid is for everything. */
    boolean isOne() {
        return grids.size() == 1;
    }

    /** Whether a number is the same for all grids. */
    boolean agree(ToDoubleFunction<CodeGrid> number) {
        return grids.stream().mapToDouble(number).distinct().count() == 1;
    }

    /** A number of each grid, where it belongs: {@code [heads, 1, 1]} or {@code [tokens, 1]}. */
    Tensor along(ToDoubleFunction<CodeGrid> number) {
        int[] sizes = new int[isOne() ? 0 : rank];
        Arrays.fill(sizes, 1);
        if (!isOne()) {
            sizes[0] = groupOf.length;
        }
        float[] numbers = new float[isOne() ? 1 : groupOf.length];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) number.applyAsDouble(grids.get(isOne() ? 0 : groupOf[i]));
        }
        return Tensor.of(Shape.of(sizes), numbers);
    }
}
