package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeTable;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/** Looks codes up by the upper half of each number's bits, a piece at a time through Java's arrays. */
final class TableCoder {
    private static final int PIECE = 4096;
    private static final int SHIFTED = 0x80;

    private TableCoder() {
    }

    /**
     * Writes the codes of {@code rows * columns} numbers in one range of a table.
     *
     * @param sums of the codes of each row, added to
     */
    static void encode(CodeForm form, long numbers, int rows, int columns, CodeTable table, int range, long codes, int[] sums) {
        byte[] byPattern = table.lookup(range);
        FloatBuffer from = CpuBuffer.at(numbers, Math.multiplyExact(rows * columns, Float.BYTES)).asFloatBuffer();
        ByteBuffer to = CpuBuffer.at(codes, rows * columns * form.bytes());
        float[] piece = new float[Math.min(columns, PIECE)];
        byte[] bytes = new byte[piece.length];
        for (int row = 0; row < rows; row++) {
            for (int start = 0; start < columns; start += piece.length) {
                int count = Math.min(piece.length, columns - start);
                int at = row * columns + start;
                from.get(at, piece, 0, count);
                sums[row] += lookUp(piece, count, byPattern, bytes);
                if (form == CodeForm.NUMBERS) {
                    widen(bytes, piece, count);
                    to.asFloatBuffer().put(at, piece, 0, count);
                } else {
                    shift(bytes, count, form.shift());
                    to.put(at, bytes, 0, count);
                }
            }
        }
    }

    private static int lookUp(float[] numbers, int count, byte[] byPattern, byte[] codes) {
        int sum = 0;
        for (int i = 0; i < count; i++) {
            byte code = byPattern[Float.floatToRawIntBits(numbers[i]) >>> 16];
            codes[i] = code;
            sum += code;
        }
        return sum;
    }

    /** Adding 128 to a signed byte turns its highest bit around. */
    private static void shift(byte[] codes, int count, int shift) {
        for (int i = 0; i < count && shift != 0; i++) {
            codes[i] ^= (byte) SHIFTED;
        }
    }

    private static void widen(byte[] codes, float[] numbers, int count) {
        for (int i = 0; i < count; i++) {
            numbers[i] = codes[i];
        }
    }
}
