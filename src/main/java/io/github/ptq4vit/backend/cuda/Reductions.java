package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.LongConsumer;

/** Operations that choose from or sum up the rows of an array. */
final class Reductions {
    /** Numbers that a block compares at least, so that its own cost does not show. */
    private static final int ELEMENTS_A_BLOCK = 1 << 14;
    private static final int MOST_PARTS = 1 << 12;

    private final CudaDevice device;

    Reductions(CudaDevice device) {
        this.device = device;
    }

    void gather(View from, int[] rows, View to) {
        long length = from.size(0) == 0 ? 0 : from.elements() / from.size(0);
        try (CudaScope scope = new CudaScope(device.memory())) {
            long bytes = (long) rows.length * Integer.BYTES;
            long indices = address(scope.buffer(DataType.INT8, bytes));
            device.transfers().upload((start, piece) -> piece.asIntBuffer().put(rows, (int) (start / Integer.BYTES),
                    piece.remaining() / Integer.BYTES), indices, bytes);
            device.launch(Kernel.GATHER_ROWS_F32).view(from).address(indices).view(to).count(rows.length).count(length)
                    .over(to.elements());
        }
    }

    /** Largest number, or magnitude, of each group of {@code [outer, groups, inner]}; NaN if there is one. */
    float[] maxima(View x, boolean absolute) {
        int groups = x.size(1);
        long perGroup = x.elements() / groups;
        int parts = (int) Math.max(1, Math.min((perGroup + ELEMENTS_A_BLOCK - 1) / ELEMENTS_A_BLOCK,
                8L * device.multiprocessors()));
        float[] partial = new float[groups * parts];
        try (CudaScope scope = new CudaScope(device.memory())) {
            View found = scope.floats(partial.length);
            device.launch(Kernel.REDUCE_MAXIMA_F32).view(x).view(found).count(x.size(0)).count(groups)
                    .count(x.elements() / x.size(0) / groups).integer(absolute ? 1 : 0).integer(parts).blocks(parts, groups, 1);
            device.transfers().download(device.address(found), (start, piece) -> piece.asFloatBuffer().get(partial,
                    (int) (start / Float.BYTES), piece.remaining() / Float.BYTES), (long) partial.length * Float.BYTES);
        }
        float[] maxima = new float[groups];
        Arrays.fill(maxima, Float.NEGATIVE_INFINITY);
        for (int i = 0; i < partial.length; i++) {
            maxima[i / parts] = Math.max(maxima[i / parts], partial[i]);
        }
        return maxima;
    }

    /** Sum of each row in float64. */
    double[] rowSums(View x) {
        int rows = Math.toIntExact(x.elements() / x.size(-1));
        return doubles(rows, sums -> device.launch(Kernel.REDUCE_ROWS_F64).view(x).address(sums).count(rows).integer(x.size(-1))
                .overRows(rows));
    }

    /** Sums of {@code w (a - b)^2} of each group of {@code [outer, groups, inner]}; in how many parts depends on the sizes alone. */
    double[] squaredErrors(View a, View b, Optional<View> w) {
        int groups = a.size(1);
        long inner = a.elements() / a.size(0) / groups;
        int parts = (int) Math.max(1, Math.min(MOST_PARTS, a.elements() / groups / ELEMENTS_A_BLOCK));
        double[] partial = doubles(groups * parts, sums -> {
            Launch launch = device.launch(Kernel.REDUCE_SQUARED_ERRORS_F64).view(a).view(b);
            w.ifPresentOrElse(launch::view, () -> launch.address(0));
            launch.address(sums).count(a.size(0)).count(groups).count(inner).blocks(groups, parts, 1);
        });
        double[] errors = new double[groups];
        for (int i = 0; i < partial.length; i++) {
            errors[i / parts] += partial[i];
        }
        return errors;
    }

    /** So many numbers that kernels leave at an address. */
    private double[] doubles(int count, LongConsumer kernels) {
        double[] numbers = new double[count];
        long bytes = (long) count * Double.BYTES;
        try (CudaScope scope = new CudaScope(device.memory())) {
            long found = address(scope.buffer(DataType.INT8, bytes));
            kernels.accept(found);
            device.transfers().download(found, (start, piece) -> piece.asDoubleBuffer().get(numbers, (int) (start / Double.BYTES),
                    piece.remaining() / Double.BYTES), bytes);
        }
        return numbers;
    }

    private static long address(Buffer buffer) {
        return ((CudaBuffer) buffer).address();
    }
}
