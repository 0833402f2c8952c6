package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;

/** Operations in plain Java, for backends without a faster way. All arrays are row-major. */
public final class HostOperations {
    private HostOperations() {
    }

    /** The float32 numbers of a view, row-major. */
    static float[] numbers(Backend device, View view) {
        if (view.isDense()) {
            return device.download(view).data().array();
        }
        try (Scope scope = device.scope()) {
            View dense = scope.floats(view.sizes());
            device.copy(view, dense);
            return device.download(dense).data().array();
        }
    }

    /** Sets the numbers of a view, given row-major. */
    static void write(Backend device, float[] numbers, View view) {
        Tensor tensor = Tensor.of(Shape.of(view.sizes()), numbers);
        if (view.isDense()) {
            device.upload(tensor, view);
            return;
        }
        try (Scope scope = device.scope()) {
            View dense = scope.floats(view.sizes());
            device.upload(tensor, dense);
            device.copy(dense, view);
        }
    }

    /** See {@link Backend#hadamard}: changes the first {@code count} numbers of x, in the order of operations that reproducible results have. */
    public static void hadamard(float[] x, int count, int block) {
        requireBlock(block, count);
        float factor = hadamardFactor(block);
        int half = 1;
        for (; 8 * half <= block; half *= 8) {
            threeStages(x, count, half);
        }
        for (; half < block; half *= 2) {
            for (int start = 0; start < count; start += 2 * half) {
                for (int i = start; i < start + half; i++) {
                    float a = x[i];
                    float b = x[i + half];
                    x[i] = a + b;
                    x[i + half] = a - b;
                }
            }
        }
        for (int i = 0; i < count; i++) {
            x[i] *= factor;
        }
    }

    /** The stages for half, 2 half and 4 half: eight numbers meet each other only. */
    private static void threeStages(float[] x, int count, int half) {
        for (int start = 0; start < count; start += 8 * half) {
            for (int i = start; i < start + half; i++) {
                float a0 = x[i] + x[i + half];
                float a1 = x[i] - x[i + half];
                float a2 = x[i + 2 * half] + x[i + 3 * half];
                float a3 = x[i + 2 * half] - x[i + 3 * half];
                float a4 = x[i + 4 * half] + x[i + 5 * half];
                float a5 = x[i + 4 * half] - x[i + 5 * half];
                float a6 = x[i + 6 * half] + x[i + 7 * half];
                float a7 = x[i + 6 * half] - x[i + 7 * half];
                float b0 = a0 + a2;
                float b1 = a1 + a3;
                float b2 = a0 - a2;
                float b3 = a1 - a3;
                float b4 = a4 + a6;
                float b5 = a5 + a7;
                float b6 = a4 - a6;
                float b7 = a5 - a7;
                x[i] = b0 + b4;
                x[i + half] = b1 + b5;
                x[i + 2 * half] = b2 + b6;
                x[i + 3 * half] = b3 + b7;
                x[i + 4 * half] = b0 - b4;
                x[i + 5 * half] = b1 - b5;
                x[i + 6 * half] = b2 - b6;
                x[i + 7 * half] = b3 - b7;
            }
        }
    }

    /** What {@link Backend#hadamard} multiplies Sylvester's matrix with: the power of two next to the one that makes it orthogonal. */
    public static float hadamardFactor(int block) {
        return Math.scalb(1f, -(Integer.numberOfTrailingZeros(block) / 2));
    }

    /** Throws unless blocks are a power of two that divides the length. */
    public static void requireBlock(int block, int length) {
        if (block < 1 || Integer.bitCount(block) != 1 || length % block != 0) {
            throw new IllegalArgumentException("The blocks of a Hadamard transform are powers of two that divide " + length
                    + ", not " + block);
        }
    }

    /** See {@link Backend#decoded}: replaces numbers, in rows of {@code columns}, by what their codes stand for. */
    public static void decode(float[] x, int columns, CodeGrid grid) {
        if (grid.rows() == RowScale.RANGE) {
            decodeRows(x, columns, grid);
            return;
        }
        if (grid.ranges().size() == 1 && grid.table().isEmpty() && grid.ranges().get(0).isUnlimited()) {
            decode(x, grid.ranges().get(0));
        } else {
            for (int i = 0; i < x.length; i++) {
                x[i] = grid.value(x[i]);
            }
        }
        divideBySums(x, columns, grid.rows());
    }

    private static void decodeRows(float[] x, int columns, CodeGrid grid) {
        for (int row = 0; row < x.length; row += columns) {
            RowRange range = RowRange.of(x, row, row + columns, grid);
            for (int i = row; i < row + columns; i++) {
                float sum = 0;
                for (int part = 0; part < grid.ranges().size(); part++) {
                    sum += range.code(grid, part, x[i]) * grid.ranges().get(part).step();
                }
                x[i] = sum * range.size();
            }
        }
    }

    /** The same as {@link CodeGrid#value}, for the compiler to make wide instructions of; adding 0 makes 0 of -0, as there. */
    private static void decode(float[] x, CodeRange range) {
        float step = range.step();
        double min = range.min();
        double max = range.max();
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) Math.max(min, Math.min(max, Math.rint(x[i] / step))) * step + 0f;
        }
    }

    /** Divides numbers by the sums of their rows if the row scale says so. */
    public static void divideBySums(float[] x, int columns, RowScale rows) {
        if (rows == RowScale.SUM) {
            for (int row = 0; row < x.length; row += columns) {
                double sum = 0;
                for (int i = row; i < row + columns; i++) {
                    sum += x[i];
                }
                float divisor = sum == 0 ? 1 : (float) sum;
                for (int i = row; i < row + columns; i++) {
                    x[i] /= divisor;
                }
            }
        }
    }

    /** See {@link Backend#squaredErrors}; w may be null for ones. */
    public static double[] squaredErrors(float[] a, float[] b, float[] w, int groups, int inner) {
        double[] sums = new double[groups];
        for (int start = 0; start < a.length; start += inner) {
            sums[start / inner % groups] += squaredError(a, b, w, start, start + inner);
        }
        return sums;
    }

    /** Of numbers {@code [from, to)}: two chains of additions, none of which waits for the other. */
    public static double squaredError(float[] a, float[] b, float[] w, int from, int to) {
        double even = 0;
        double odd = 0;
        int i = from;
        for (; i < to - 1; i += 2) {
            float first = a[i] - b[i];
            float second = a[i + 1] - b[i + 1];
            even += (double) first * first * (w == null ? 1 : w[i]);
            odd += (double) second * second * (w == null ? 1 : w[i + 1]);
        }
        for (; i < to; i++) {
            float last = a[i] - b[i];
            even += (double) last * last * (w == null ? 1 : w[i]);
        }
        return even + odd;
    }
}
