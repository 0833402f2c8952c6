package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.RowRange;
import io.github.ptq4vit.backend.RowScale;
import java.nio.FloatBuffer;
import java.util.Optional;

/** Replaces numbers by what their codes stand for, and tells how far apart numbers are; through Java's arrays, a piece at a time. */
final class Decoder {
    private static final int PIECE = 4096;

    private Decoder() {
    }

    /** From x to y, in rows of {@code columns}. */
    static void decode(FloatBuffer x, int columns, CodeGrid grid, FloatBuffer y) {
        if (grid.rows() == RowScale.RANGE) {
            decodeRows(x, columns, grid, y);
            return;
        }
        int length = grid.rows() == RowScale.NONE ? PIECE : Math.max(1, PIECE / columns) * columns;
        float[] piece = new float[Math.min(length, x.limit())];
        for (int start = 0; start < x.limit(); start += piece.length) {
            float[] own = x.limit() - start < piece.length ? new float[x.limit() - start] : piece;
            x.get(start, own);
            if (grid.table().isPresent()) {
                lookUp(own, grid.table().get(), grid);
                HostOperations.divideBySums(own, columns, grid.rows());
            } else {
                HostOperations.decode(own, columns, grid);
            }
            y.put(start, own);
        }
    }

    /** Rows with ranges of their own. */
    private static void decodeRows(FloatBuffer x, int columns, CodeGrid grid, FloatBuffer y) {
        float[] row = new float[columns];
        float step = grid.ranges().get(0).step();
        int steps = grid.ranges().get(0).max() - grid.ranges().get(0).min();
        for (int start = 0; start < x.limit(); start += columns) {
            x.get(start, row);
            RowRange range = RowRange.of(row, 0, columns, grid);
            RowCoder.divide(row, range.size());
            if (grid.table().isPresent()) {
                lookUp(row, grid.table().get(), grid);
            } else {
                RowCoder.round(row, step, -range.zeroPoint(), steps - range.zeroPoint(), row);
                multiply(row, step);
            }
            multiply(row, range.size());
            y.put(start, row);
        }
    }

    private static void multiply(float[] row, float factor) {
        for (int i = 0; i < row.length; i++) {
            row[i] *= factor;
        }
    }

    private static void lookUp(float[] x, CodeTable table, CodeGrid grid) {
        byte[] first = table.lookup(0);
        byte[] second = table.lookup(table.ranges() - 1);
        float firstStep = grid.ranges().get(0).step();
        float secondStep = table.ranges() == 1 ? 0 : grid.ranges().get(1).step();
        for (int i = 0; i < x.length; i++) {
            int pattern = Float.floatToRawIntBits(x[i]) >>> 16;
            x[i] = first[pattern] * firstStep + second[pattern] * secondStep;
        }
    }

    /** See {@link io.github.ptq4vit.backend.Backend#squaredErrors}. */
    static double[] squaredErrors(FloatBuffer a, FloatBuffer b, Optional<FloatBuffer> w, int groups, int inner) {
        double[] sums = new double[groups];
        float[] first = new float[Math.min(inner, PIECE)];
        float[] second = new float[first.length];
        float[] weights = new float[first.length];
        for (int run = 0; run < a.limit() / inner; run++) {
            for (int start = 0; start < inner; start += first.length) {
                int count = Math.min(first.length, inner - start);
                int at = run * inner + start;
                a.get(at, first, 0, count);
                b.get(at, second, 0, count);
                w.ifPresent(all -> all.get(at, weights, 0, count));
                sums[run % groups] += HostOperations.squaredError(first, second, w.isPresent() ? weights : null, 0, count);
            }
        }
        return sums;
    }
}
