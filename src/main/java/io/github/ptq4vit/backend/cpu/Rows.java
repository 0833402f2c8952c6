package io.github.ptq4vit.backend.cpu;

import java.nio.FloatBuffer;
import java.util.Arrays;

/** The rows of a matrix as Java's buffers, which copy a short row faster than a call of native code; one holds at most 1 GiB. */
final class Rows {
    private static final long MOST_ELEMENTS = 1L << 28;

    private final FloatBuffer[] windows;
    private final int length;
    private final int rowsOfAWindow;

    /** Of {@code elements} numbers in rows of {@code length}. */
    Rows(long address, long elements, int length) {
        long rows = elements / length;
        this.length = length;
        this.rowsOfAWindow = Math.toIntExact(Math.max(1, Math.min(rows, MOST_ELEMENTS / length)));
        this.windows = new FloatBuffer[Math.toIntExact((rows + rowsOfAWindow - 1) / rowsOfAWindow)];
        Arrays.setAll(windows, i -> {
            long first = (long) i * rowsOfAWindow;
            int own = (int) Math.min(rowsOfAWindow, rows - first) * length;
            return CpuBuffer.at(address + first * length * Float.BYTES, own * Float.BYTES).asFloatBuffer();
        });
    }

    /** Makes a row a copy of another's. */
    void put(int row, Rows from, int fromRow) {
        windows[row / rowsOfAWindow].put(row % rowsOfAWindow * length, from.windows[fromRow / from.rowsOfAWindow],
                fromRow % from.rowsOfAWindow * length, length);
    }
}
