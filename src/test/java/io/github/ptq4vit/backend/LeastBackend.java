package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.Collection;

/**
 * The least that a backend has to be: memory, here Java's arrays, and what moves numbers. All else are the defaults of
 * {@link Backend}; that they are enough is what running the contract on this one shows.
 */
final class LeastBackend implements Backend {

    /** Codes are kept as numbers. */
    private static final class Memory implements Buffer {
        private final DataType type;
        private final float[] numbers;
        private boolean closed;

        Memory(DataType type, long elements) {
            this.type = type;
            this.numbers = new float[Math.toIntExact(elements)];
            Arrays.fill(numbers, type == DataType.FLOAT32 ? Float.NaN : 85);
        }

        @Override
        public DataType type() {
            return type;
        }

        @Override
        public long elements() {
            return numbers.length;
        }
    }

    private static final class MemoryScope extends BufferScope<Memory> {
        @Override
        protected Memory make(DataType type, long elements) {
            return new Memory(type, elements);
        }

        @Override
        protected void free(Collection<Memory> some) {
            some.forEach(memory -> memory.closed = true);
        }
    }

    private static float[] memory(View view) {
        Memory memory = (Memory) view.buffer();
        if (memory.closed) {
            throw new BackendException("A buffer was used after its scope was closed");
        }
        return memory.numbers;
    }

    @Override
    public DeviceInfo device() {
        return new DeviceInfo("least", "Java's arrays, for tests", 1, "exact", "float32");
    }

    @Override
    public Scope scope() {
        return new MemoryScope();
    }

    @Override
    public void upload(Tensor from, View to) {
        Checks.upload(from, to);
        from.data().get(0, memory(to), (int) to.offset(), (int) to.elements());
    }

    @Override
    public Tensor download(View from) {
        Checks.download(from);
        float[] memory = memory(from);
        return Tensor.of(Shape.of(from.sizes()), Arrays.copyOfRange(memory, (int) from.offset(), (int) (from.offset() + from.elements())));
    }

    @Override
    public void copy(View from, View to) {
        Checks.copy(from, to);
        if (from.rank() > 0) {
            for (int i = 0; i < from.size(0); i++) {
                copy(from.at(i), to.at(i));
            }
        } else {
            memory(to)[(int) to.offset()] = memory(from)[(int) from.offset()];
        }
    }

    @Override
    public void quantize(View x, CodeGrid grid, int range, View codes) {
        Checks.quantize(x, grid, range, codes);
        for (int i = 0; i < x.elements(); i++) {
            memory(codes)[(int) codes.offset() + i] = grid.code(range, memory(x)[(int) x.offset() + i]);
        }
    }

    @Override
    public void close() {
    }
}
