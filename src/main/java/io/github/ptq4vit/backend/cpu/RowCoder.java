package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.backend.RowRange;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/** Codes of rows that have ranges of their own ({@link io.github.ptq4vit.backend.RowScale#RANGE}), row by row through Java's arrays. */
final class RowCoder {
    /** Added and taken off again, it rounds numbers of up to 2^22 half to even. */
    private static final float ROUNDING = 0x1.8p23f;

    private RowCoder() {
    }

    /**
     * Writes the codes of rows.
     *
     * @param numbers address of {@code [rows, columns]} float32
     * @param codes address of the codes for each range of the grid
     * @return the ranges' sizes
     */
    static float[] encode(CodeForm form, long numbers, int rows, int columns, CodeGrid grid, long[] codes) {
        FloatBuffer from = CpuBuffer.at(numbers, Math.multiplyExact(rows * columns, Float.BYTES)).asFloatBuffer();
        float[] sizes = new float[rows];
        float[] row = new float[columns];
        float[] result = new float[columns];
        byte[] bytes = new byte[columns];
        for (int i = 0; i < rows; i++) {
            from.get(i * columns, row);
            RowRange range = RowRange.of(row, 0, columns, grid);
            sizes[i] = range.size();
            divide(row, range.size());
            for (int part = 0; part < codes.length; part++) {
                if (grid.table().isPresent()) {
                    lookUp(row, grid.table().get(), part, result);
                } else {
                    int min = -range.zeroPoint();
                    round(row, grid.ranges().get(0).step(), min, min + grid.ranges().get(0).max() - grid.ranges().get(0).min(), result);
                }
                ByteBuffer to = CpuBuffer.at(codes[part] + (long) i * columns * form.bytes(), columns * form.bytes());
                if (form == CodeForm.NUMBERS) {
                    to.asFloatBuffer().put(result);
                } else {
                    narrow(result, form.shift(), bytes);
                    to.put(bytes);
                }
            }
        }
        return sizes;
    }

    static void divide(float[] row, float size) {
        for (int i = 0; i < row.length; i++) {
            row[i] /= size;
        }
    }

    /** Codes between two bounds; they may replace the row. */
    static void round(float[] row, float step, float min, float max, float[] codes) {
        for (int i = 0; i < codes.length; i++) {
            codes[i] = Math.max(min, Math.min(max, row[i] / step)) + ROUNDING - ROUNDING;
        }
    }

    private static void lookUp(float[] row, CodeTable table, int range, float[] codes) {
        byte[] byPattern = table.lookup(range);
        for (int i = 0; i < codes.length; i++) {
            codes[i] = byPattern[Float.floatToRawIntBits(row[i]) >>> 16];
        }
    }

    private static void narrow(float[] codes, int shift, byte[] bytes) {
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) ((int) codes[i] + shift);
        }
    }
}
