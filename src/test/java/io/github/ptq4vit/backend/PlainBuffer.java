package io.github.ptq4vit.backend;

import java.util.Arrays;

/**
 * Memory of the {@link PlainBackend}: float32-typed elements are kept in float64. Fresh memory holds NaN, so that a
 * result that depends on what was never written shows.
 */
final class PlainBuffer implements Buffer {
    private static final byte GARBAGE = 85;

    private final DataType type;
    private final double[] numbers;
    private final byte[] codes;
    private boolean closed;

    PlainBuffer(DataType type, int elements) {
        this.type = type;
        this.numbers = new double[type == DataType.FLOAT32 ? elements : 0];
        this.codes = new byte[type == DataType.INT8 ? elements : 0];
        Arrays.fill(numbers, Double.NaN);
        Arrays.fill(codes, GARBAGE);
    }

    @Override
    public DataType type() {
        return type;
    }

    @Override
    public long elements() {
        return numbers.length + codes.length;
    }

    void close() {
        closed = true;
    }

    /** The elements of a window, row-major. */
    static double[] read(View view) {
        PlainBuffer buffer = of(view);
        return Arrays.stream(offsets(view)).mapToDouble(at -> buffer.numbers.length == 0 ? buffer.codes[at] : buffer.numbers[at])
                .toArray();
    }

    /** Sets the elements of a window, given row-major. */
    static void write(double[] values, View view) {
        PlainBuffer buffer = of(view);
        int[] offsets = offsets(view);
        if (values.length != offsets.length) {
            throw new IllegalArgumentException(values.length + " numbers do not fill " + view);
        }
        for (int i = 0; i < values.length; i++) {
            if (buffer.type == DataType.INT8) {
                buffer.codes[offsets[i]] = (byte) values[i];
            } else {
                buffer.numbers[offsets[i]] = values[i];
            }
        }
    }

    private static PlainBuffer of(View view) {
        if (!(view.buffer() instanceof PlainBuffer buffer)) {
            throw new IllegalArgumentException("A buffer of another backend: " + view);
        }
        if (buffer.closed) {
            throw new BackendException("A buffer was used after its scope was closed");
        }
        return buffer;
    }

    private static int[] offsets(View view) {
        int[] offsets = {Math.toIntExact(view.offset())};
        for (int axis = 0; axis < view.rank(); axis++) {
            int size = view.size(axis);
            int stride = Math.toIntExact(view.stride(axis));
            int[] finer = new int[offsets.length * size];
            for (int i = 0; i < finer.length; i++) {
                finer[i] = offsets[i / size] + i % size * stride;
            }
            offsets = finer;
        }
        return offsets;
    }
}
