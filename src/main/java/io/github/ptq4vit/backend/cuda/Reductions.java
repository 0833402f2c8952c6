package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.Arrays;

/** Operations that choose from or sum up the rows of an array. */
final class Reductions {
    /** Numbers that a block compares at least, so that its own cost does not show. */
    private static final int ELEMENTS_A_BLOCK = 1 << 14;

    private final CudaDevice device;

    Reductions(CudaDevice device) {
        this.device = device;
    }

    void gather(View from, int[] rows, View to) {
        long length = from.size(0) == 0 ? 0 : from.elements() / from.size(0);
        if (to.elements() != rows.length * length || Arrays.stream(rows).anyMatch(row -> row < 0 || row >= from.size(0))) {
            throw new IllegalArgumentException(rows.length + " rows of " + from + " do not make " + to
                    + ", or there are no such rows");
        }
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
        double[] sums = new double[Math.toIntExact(x.elements() / x.size(-1))];
        long bytes = (long) sums.length * Double.BYTES;
        try (CudaScope scope = new CudaScope(device.memory())) {
            Buffer found = scope.buffer(DataType.INT8, bytes);
            device.launch(Kernel.REDUCE_ROWS_F64).view(x).address(address(found)).count(sums.length).integer(x.size(-1))
                    .overRows(sums.length);
            device.transfers().download(address(found), (start, piece) -> piece.asDoubleBuffer().get(sums,
                    (int) (start / Double.BYTES), piece.remaining() / Double.BYTES), bytes);
        }
        return sums;
    }

    private static long address(Buffer buffer) {
        return ((CudaBuffer) buffer).address();
    }
}
