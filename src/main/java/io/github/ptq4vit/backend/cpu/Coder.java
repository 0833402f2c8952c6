package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import org.bytedeco.dnnl.global.dnnl;

/**
 * Turns float32 numbers into codes: oneDNN's elementwise division (a true one), clipping, and the conversion to bytes,
 * which rounds half to even. Clipping first changes nothing, the bounds being integers.
 */
final class Coder {
    private static final int F32 = dnnl.dnnl_f32;

    /** What a division depends on but for the divisor. */
    private record DivisionKey(CodeForm form, long count, int min, int max, boolean masked) {
        @Override
        public boolean equals(Object other) {
            return other instanceof DivisionKey that && form == that.form && count == that.count && min == that.min
                    && max == that.max && masked == that.masked;
        }

        @Override
        public int hashCode() {
            return 31 * (31 * (31 * form.ordinal() + (int) count) + min) + max;
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
            divide(worker, numbers, count, range, codes, 0);
        } else {
            boolean below = range.from() == Float.NEGATIVE_INFINITY;
            if (!below && range.to() != Float.POSITIVE_INFINITY) {
                throw new IllegalArgumentException("A range may have one limit, not two: " + range);
            }
            long mask = worker.scratch("mask", count * Float.BYTES);
            worker.binary(below ? dnnl.dnnl_binary_lt : dnnl.dnnl_binary_ge, line(F32, count), line(F32, 1),
                    line(F32, count), Epilogue.NONE).run(numbers, worker.scalar(below ? range.to() : range.from()), mask);
            divide(worker, numbers, count, range, codes, mask);
        }
    }

    private void divide(Worker worker, long numbers, long count, CodeRange range, long codes, long mask) {
        DivisionKey key = new DivisionKey(form, count, range.min(), range.max(), mask != 0);
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
            return worker.binary(dnnl.dnnl_binary_div, line(F32, count), line(F32, 1), line(form.type(), count), epilogue);
        });
        if (mask == 0) {
            divide.run(numbers, worker.scalar(range.step()), codes);
        } else {
            divide.run(numbers, worker.scalar(range.step()), codes, mask);
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
