package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.RowRange;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.RowTransform;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Codes of rows that are transformed before ({@link RowTransform}), or have ranges of their own ({@link RowScale#RANGE}): row by row through
 * Java's arrays, so that each number is read once.
 */
final class RowCoder {
    /** Added and taken off again, it rounds numbers of up to 2^22 half to even. */
    private static final float ROUNDING = 0x1.8p23f;

    private final CodeForm form;
    private final CodeGrid grid;
    /** Codes for each range by the upper half of a number's bits, where they are looked up. */
    private final byte[][] byPattern;
    private final float[] factors;
    private final float[] shifts;
    private final int hadamard;
    private final float[] row;
    private final float[] result;
    private final byte[] bytes;

    private RowCoder(CodeForm form, RowTransform transform, CodeGrid grid, int columns) {
        this.form = form;
        this.grid = grid;
        this.byPattern = grid.table().stream().flatMap(table -> IntStream.range(0, table.ranges()).mapToObj(table::lookup)).toArray(byte[][]::new);
        this.factors = transform.factors().map(view -> CpuBuffer.array(CpuBuffer.address(view), columns)).orElse(new float[0]);
        this.shifts = transform.shifts().map(view -> CpuBuffer.array(CpuBuffer.address(view), columns)).orElse(new float[0]);
        this.hadamard = transform.hadamard();
        this.row = new float[columns];
        this.result = new float[columns];
        this.bytes = new byte[columns];
    }

    /**
     * Writes the codes of rows.
     *
     * @param numbers address of {@code [rows, columns]} float32
     * @param codes address of the codes for each range of the grid
     * @return the sizes of the rows' ranges; ones if they have none of their own
     */
    static float[] encode(CodeForm form, long numbers, int rows, int columns, RowTransform transform, CodeGrid grid, long[] codes) {
        RowCoder coder = new RowCoder(form, transform, grid, columns);
        FloatBuffer from = CpuBuffer.at(numbers, Math.multiplyExact(rows * columns, Float.BYTES)).asFloatBuffer();
        ByteBuffer[] to = LongStream.of(codes).mapToObj(address -> CpuBuffer.at(address, rows * columns * form.bytes())).toArray(ByteBuffer[]::new);
        float[] sizes = new float[rows];
        Arrays.fill(sizes, 1);
        for (int i = 0; i < rows; i++) {
            from.get(i * columns, coder.row);
            coder.transform();
            CodeRange range = grid.ranges().get(0);
            if (grid.rows() == RowScale.RANGE) {
                RowRange own = RowRange.of(coder.row, 0, columns, grid);
                sizes[i] = own.size();
                divide(coder.row, own.size());
                if (grid.table().isEmpty()) {
                    range = CodeRange.unlimited(range.step(), -own.zeroPoint(), range.max() - range.min() - own.zeroPoint());
                }
            }
            for (int part = 0; part < codes.length; part++) {
                coder.write(part, range, to[part]);
            }
        }
        return sizes;
    }

    private void transform() {
        for (int i = 0; i < factors.length; i++) {
            row[i] *= factors[i];
        }
        for (int i = 0; i < shifts.length; i++) {
            row[i] += shifts[i];
        }
        if (hadamard > 1) {
            HostOperations.hadamard(row, row.length, hadamard);
        }
    }

    /**
     * Appends the codes of the row.
     *
     * @param only the range of a grid that has one and no table
     */
    private void write(int part, CodeRange only, ByteBuffer codes) {
        if (byPattern.length > 0 && form != CodeForm.NUMBERS) {
            lookUp(row, byPattern[part], form.shift(), bytes);
            codes.put(bytes);
            return;
        }
        if (byPattern.length > 0) {
            byte[] own = byPattern[part];
            for (int i = 0; i < row.length; i++) {
                result[i] = own[Float.floatToRawIntBits(row[i]) >>> 16];
            }
        } else if (grid.ranges().size() == 1 && only.isUnlimited()) {
            round(row, only.step(), only.min(), only.max(), result);
        } else {
            for (int i = 0; i < row.length; i++) {
                result[i] = grid.code(part, row[i]);
            }
        }
        if (form == CodeForm.NUMBERS) {
            codes.asFloatBuffer().put(result);
            codes.position(codes.position() + row.length * form.bytes());
        } else {
            narrow(result, form.shift(), bytes);
            codes.put(bytes);
        }
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

    private static void lookUp(float[] row, byte[] byPattern, int shift, byte[] codes) {
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) (byPattern[Float.floatToRawIntBits(row[i]) >>> 16] + shift);
        }
    }

    private static void narrow(float[] codes, int shift, byte[] bytes) {
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) ((int) codes[i] + shift);
        }
    }
}
