package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.Arrays;

/** Operations on whole arrays, in a few parts side by side. */
final class Parallel {
    private static final int PARTS = 16;

    private final Backend backend;

    Parallel(Backend backend) {
        this.backend = backend;
    }

    /** {@code to[i] = from[rows[i]]} along the outermost axis. */
    void gather(View from, int[] rows, View to) {
        inParts(rows.length, (start, end) -> backend.gather(from, Arrays.copyOfRange(rows, start, end), to.slice(0, start, end)));
    }

    /** Sum of each row of a dense array. */
    double[] rowSums(View x) {
        View rows = x.rows();
        double[] sums = new double[rows.size(0)];
        inParts(sums.length, (start, end) -> {
            double[] part = backend.rowSums(rows.slice(0, start, end));
            System.arraycopy(part, 0, sums, start, part.length);
        });
        return sums;
    }

    /** Sum of the squares of each row of a dense matrix. */
    double[] squaredNorms(View x) {
        double[] norms = new double[x.size(0)];
        inParts(norms.length, (start, end) -> {
            try (Scope scope = backend.scope()) {
                View squares = scope.floats(end - start, x.size(1));
                backend.zero(squares);
                backend.addSquare(x.slice(0, start, end), 1, squares);
                System.arraycopy(backend.rowSums(squares), 0, norms, start, end - start);
            }
        });
        return norms;
    }

    /** Largest number, or largest magnitude, of each group of {@code [outer, groups, inner]}; NaN if there is one. */
    float[] maxima(View x, boolean absolute) {
        float[] maxima = new float[x.size(1)];
        Arrays.fill(maxima, Float.NEGATIVE_INFINITY);
        inParts(x.size(0), (start, end) -> {
            float[] part = backend.maxima(x.slice(0, start, end), absolute);
            synchronized (maxima) {
                for (int group = 0; group < maxima.length; group++) {
                    maxima[group] = Math.max(maxima[group], part[group]);
                }
            }
        });
        return maxima;
    }

    /** The view itself if it is dense, else a dense copy. */
    View dense(View view, Scope scope) {
        if (view.isDense()) {
            return view;
        }
        View copy = scope.floats(view.sizes());
        inParts(view.size(0), (start, end) -> backend.copy(view.slice(0, start, end), copy.slice(0, start, end)));
        return copy;
    }

    private interface Range {
        void run(int start, int end);
    }

    private void inParts(int items, Range work) {
        int parts = Math.min(PARTS, items);
        backend.parallel(parts, (first, last, scope) -> work.run(bound(first, items, parts), bound(last, items, parts)));
    }

    private static int bound(int part, int items, int parts) {
        return (int) ((long) items * part / parts);
    }
}
