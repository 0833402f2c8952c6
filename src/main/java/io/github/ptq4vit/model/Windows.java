package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Tensor;

/**
 * How a square grid of tokens is cut into square windows, after it was shifted cyclically up and left. Window order is the
 * tokens of the first window row by row, then those of the window to its right, and so on.
 *
 * @param grid tokens along one side
 * @param size tokens along one side of a window; divides the grid
 * @param shift tokens by which the grid is shifted; 0 for none
 */
public record Windows(int grid, int size, int shift) {
    /** Added to the scores of tokens that lie in one window only because of the cyclic shift. */
    private static final float APART = -100;

    public Windows {
        if (size < 1 || grid % size != 0 || shift < 0 || shift >= size) {
            throw new IllegalArgumentException("A grid of " + grid + " x " + grid + " tokens cannot be cut into windows of "
                    + size + " x " + size + " shifted by " + shift);
        }
    }

    /** Number of windows. */
    public int count() {
        return grid / size * (grid / size);
    }

    /** Tokens in a window. */
    public int tokens() {
        return size * size;
    }

    /** Number of differences between positions in a window. */
    public int relativePositions() {
        return (2 * size - 1) * (2 * size - 1);
    }

    /** From image order, row by row, to window order. */
    public TokenOrder order() {
        int[] order = new int[grid * grid];
        for (int i = 0; i < order.length; i++) {
            order[i] = (shiftedRow(i) + shift) % grid * grid + (shiftedColumn(i) + shift) % grid;
        }
        return new TokenOrder(order);
    }

    /**
     * What is added to the scores: the learnt bias of the relative position and, between tokens that only the shift brought
     * together, -100.
     *
     * @param table {@code [relative positions, heads]}
     * @return {@code [windows, heads, tokens, tokens]} of a shifted grid, else {@code [1, heads, tokens, tokens]}, since all
     *     windows are alike
     */
    public Tensor bias(Tensor table) {
        int heads = table.shape().size(1);
        int n = tokens();
        int windows = shift == 0 ? 1 : count();
        Tensor bias = Tensor.zeros(windows, heads, n, n);
        for (int window = 0; window < windows; window++) {
            for (int a = 0; a < n; a++) {
                for (int b = 0; b < n; b++) {
                    int position = (a / size - b / size + size - 1) * (2 * size - 1) + a % size - b % size + size - 1;
                    float apart = region(window * n + a) == region(window * n + b) ? 0 : APART;
                    for (int head = 0; head < heads; head++) {
                        bias.data().put(((window * heads + head) * n + a) * n + b,
                                table.data().get(position * heads + head) + apart);
                    }
                }
            }
        }
        return bias;
    }

    /** Which of the nine parts of the shifted grid, within which tokens were neighbours before, a token lies in. */
    private int region(int index) {
        return 3 * part(shiftedRow(index)) + part(shiftedColumn(index));
    }

    private int part(int place) {
        return shift == 0 || place < grid - size ? 0 : place < grid - shift ? 1 : 2;
    }

    private int shiftedRow(int index) {
        return index / tokens() / (grid / size) * size + index % tokens() / size;
    }

    private int shiftedColumn(int index) {
        return index / tokens() % (grid / size) * size + index % size;
    }
}
