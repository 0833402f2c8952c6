package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.List;
import org.bytedeco.dnnl.global.dnnl;

/**
 * Turns float32 numbers into codes: oneDNN's elementwise division (a true one), clipping, and the conversion to bytes,
 * which rounds half to even. Clipping first changes nothing, the bounds being integers.
 */
final class Coder {
    private static final int F32 = dnnl.dnnl_f32;

    /** What a division depends on but for the divisor. */
    private record DivisionKey(CodeForm form, long rows, long columns, int min, int max, boolean masked) {
        @Override
        public boolean equals(Object other) {
            return other instanceof DivisionKey that && form == that.form && rows == that.rows && columns == that.columns
                    && min == that.min && max == that.max && masked == that.masked;
        }

        @Override
        public int hashCode() {
            return 31 * (31 * (31 * (31 * form.ordinal() + (int) rows) + (int) columns) + min) + max;
        }
    }

    private final CodeForm form;

    Coder(CodeForm form) {
        this.form = form;
    }

    CodeForm form() {
        return form;
    }

    /** Writes the codes of {@code count} numbers in one range of a grid. */
    void encode(Worker worker, long numbers, long count, CodeGrid grid, int index, long codes) {
        CodeRange range = grid.ranges().get(index);
        if (grid.table().isPresent()) {
            TableCoder.encode(form, numbers, 1, Math.toIntExact(count), grid.table().get(), index, codes, new int[1]);
        } else if (grid.nearest()) {
            encodeNearest(numbers, Math.toIntExact(count), grid, index, codes);
        } else if (range.isUnlimited()) {
            divide(worker, numbers, 1, count, range, worker.scalar(range.step()), codes, 0);
        } else {
            boolean below = range.from() == Float.NEGATIVE_INFINITY;
            if (!below && range.to() != Float.POSITIVE_INFINITY) {
                throw new IllegalArgumentException("A range may have one limit, not two: " + range);
            }
            long mask = worker.scratch("mask", count * Float.BYTES);
            worker.binary(below ? dnnl.dnnl_binary_lt : dnnl.dnnl_binary_ge, line(F32, count), line(F32, 1),
                    line(F32, count), Epilogue.NONE).run(numbers, worker.scalar(below ? range.to() : range.from()), mask);
            divide(worker, numbers, 1, count, range, worker.scalar(range.step()), codes, mask);
        }
    }

    /**
     * Writes the codes of rows, of which equally many after each other share one of a candidate's grids: in one operation if these
     * differ in their steps only.
     *
     * @param grids of one candidate, each of one range
     */
    void encode(Worker worker, long numbers, int rows, int columns, CandidateGrids grids, long codes) {
        int groups = grids.groups();
        int share = rows / groups;
        List<CodeGrid> kinds = grids.kinds();
        CodeRange first = kinds.get(0).ranges().get(0);
        if (groups > 1 && kinds.size() == 1 && first.isUnlimited() && kinds.get(0).table().isEmpty()) {
            float[] steps = new float[rows];
            for (int row = 0; row < rows; row++) {
                steps[row] = grids.step(0, row / share, 0);
            }
            Scratch divisors = worker.memory("steps of rows", (long) rows * Float.BYTES);
            divisors.floats().put(0, steps);
            divide(worker, numbers, rows, columns, first, divisors.address(), codes, 0);
            return;
        }
        long size = (long) share * columns;
        for (int group = 0; group < groups; group++) {
            encode(worker, numbers + group * size * Float.BYTES, size, grids.grid(0, group), 0, codes + group * size * form.bytes());
        }
    }

    private void divide(Worker worker, long numbers, long rows, long columns, CodeRange range, long steps, long codes, long mask) {
        DivisionKey key = new DivisionKey(form, rows, columns, range.min(), range.max(), mask != 0);
        Primitive divide = worker.cached(key, () -> {
            Epilogue epilogue = Epilogue.clip(range.min(), range.max());
            if (form.shift() != 0 || form == CodeForm.NUMBERS) {
                epilogue = epilogue.then(Epilogue.Kind.ROUND);
            }
            if (key.masked) {
                epilogue = epilogue.then(Epilogue.Kind.MULTIPLY);
            }
            if (form.shift() != 0) {
                epilogue = epilogue.plus(form.shift());
            }
            return rows == 1 ? worker.binary(dnnl.dnnl_binary_div, line(F32, columns), line(F32, 1), line(form.type(), columns), epilogue)
                    : worker.binary(dnnl.dnnl_binary_div, Layout.dense(F32, rows, columns), Layout.dense(F32, rows, 1),
                            Layout.dense(form.type(), rows, columns), epilogue);
        });
        if (mask == 0) {
            divide.run(numbers, steps, codes);
        } else {
            divide.run(numbers, steps, codes, mask);
        }
    }

    /** By the definition: the rule compares two roundings, and is too rare to be worth a chain of operations. */
    private void encodeNearest(long numbers, int count, CodeGrid grid, int index, long codes) {
        FloatBuffer from = CpuBuffer.at(numbers, Math.multiplyExact(count, Float.BYTES)).asFloatBuffer();
        if (form == CodeForm.NUMBERS) {
            FloatBuffer to = CpuBuffer.at(codes, count * Float.BYTES).asFloatBuffer();
            for (int i = 0; i < count; i++) {
                to.put(i, grid.code(index, from.get(i)));
            }
        } else {
            ByteBuffer to = CpuBuffer.at(codes, count);
            for (int i = 0; i < count; i++) {
                to.put(i, (byte) (grid.code(index, from.get(i)) + form.shift()));
            }
        }
    }

    private static Layout line(int type, long count) {
        return Layout.dense(type, count);
    }
}
