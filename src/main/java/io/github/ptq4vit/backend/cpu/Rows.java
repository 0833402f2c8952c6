package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.View;
import java.nio.FloatBuffer;
import java.util.Arrays;

/** The rows of a dense view as Java's buffers, which copy a short row faster than a call of native code; one holds at most 1 GiB. */
final class Rows {
    private static final long MOST_ELEMENTS = 1L << 28;

    private final FloatBuffer[] windows;
    private final int length;
    private final int rowsOfAWindow;

    Rows(View view, int length) {
        long rows = view.elements() / length;
        this.length = length;
        this.rowsOfAWindow = Math.toIntExact(Math.max(1, Math.min(rows, MOST_ELEMENTS / length)));
        this.windows = new FloatBuffer[Math.toIntExact((rows + rowsOfAWindow - 1) / rowsOfAWindow)];
        Arrays.setAll(windows, i -> {
            long first = (long) i * rowsOfAWindow;
            int elements = (int) Math.min(rowsOfAWindow, rows - first) * length;
            return CpuBuffer.at(CpuBuffer.address(view) + first * length * Float.BYTES, elements * Float.BYTES).asFloatBuffer();
        });
    }

    /** Makes a row a copy of another's. */
    void put(int row, Rows from, int fromRow) {
        windows[row / rowsOfAWindow].put(row % rowsOfAWindow * length, from.windows[fromRow / from.rowsOfAWindow],
                fromRow % from.rowsOfAWindow * length, length);
    }
}
