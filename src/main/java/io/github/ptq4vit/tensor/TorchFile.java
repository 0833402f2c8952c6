package io.github.ptq4vit.tensor;

import io.github.ptq4vit.tensor.TorchPickle.Storage;
import io.github.ptq4vit.tensor.TorchPickle.Window;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * What {@code torch.save} wrote (.pth, .pt, .bin, .ckpt): the tensors of a dictionary of weights, of a whole checkpoint or of
 * a module, see {@link NestedTensors}. Nothing in the file is executed, see {@link PickleReader}.
 */
final class TorchFile implements TensorSource {
    /** More elements than its storage has: numbers that are repeated. So many are read, for biases that are one number. */
    private static final long MOST_REPEATED = 1 << 20;

    private final Path path;
    private final Storages storages;
    private final Map<String, Window> tensors;

    /** The elements of the tensors. */
    interface Storages {
        /**
         * The bytes of elements {@code [from, from + count)}, little endian.
         *
         * @throws IOException also if there are fewer
         */
        ByteBuffer read(Storage storage, long from, int count) throws IOException;

        /** Closes what is open. */
        void close() throws IOException;
    }

    private TorchFile(Path path, Storages storages, Map<String, Window> tensors) {
        this.path = path;
        this.storages = storages;
        this.tensors = tensors;
    }

    static TorchFile open(Path path) {
        try {
            TorchContainer container = TorchContainer.open(path);
            try {
                return new TorchFile(path, container.storages(), NestedTensors.of(path, container.root()));
            } catch (RuntimeException | Error e) {
                container.storages().close();
                throw e;
            }
        } catch (IOException e) {
            throw unreadable(path, e);
        }
    }

    @Override
    public Path path() {
        return path;
    }

    @Override
    public Set<String> names() {
        return Collections.unmodifiableSet(tensors.keySet());
    }

    @Override
    public boolean contains(String name) {
        return tensors.containsKey(name);
    }

    @Override
    public Shape shape(String name) {
        return Shape.of(window(name).sizes());
    }

    @Override
    public Tensor read(String name) {
        Window window = window(name);
        TorchPickle.Type type = window.storage().type();
        if (!type.isFloat()) {
            throw new TensorFileException(path + ": tensor " + Printable.of(name) + " is " + type
                    + ", expected is a floating point type");
        }
        Shape shape = shape(name);
        long count;
        int span;
        try {
            count = shape.elements();
            span = count == 0 ? 0 : Math.toIntExact(span(window));
            Math.multiplyExact(span, type.bytes());
            Math.toIntExact(count);
        } catch (ArithmeticException e) {
            throw outside(name, window);
        }
        if (span > window.storage().elements() - window.offset() || count > Math.max(span, MOST_REPEATED)) {
            throw outside(name, window);
        }
        if (count == 0) {
            return Tensor.of(shape);
        }
        try {
            ByteBuffer bytes = storages.read(window.storage(), window.offset(), span).order(ByteOrder.LITTLE_ENDIAN);
            float[] numbers = new float[(int) count];
            convert(bytes, window, numbers);
            return Tensor.of(shape, numbers);
        } catch (IOException e) {
            throw unreadable(path, e);
        }
    }

    /** Elements of the storage from the window's first to its last; throws ArithmeticException if that is no number. */
    private static long span(Window window) {
        if (window.offset() < 0 || Arrays.stream(window.strides()).anyMatch(stride -> stride < 0)) {
            throw new ArithmeticException("negative");
        }
        long last = window.offset();
        for (int axis = 0; axis < window.sizes().length; axis++) {
            last = Math.addExact(last, Math.multiplyExact(window.sizes()[axis] - 1L, window.strides()[axis]));
        }
        return last - window.offset() + 1;
    }

    private TensorFileException outside(String name, Window window) {
        return new TensorFileException(path + ": tensor " + Printable.of(name) + " of shape " + Arrays.toString(window.sizes())
                + " does not lie within its storage of " + window.storage().elements() + " elements; the file is damaged");
    }

    /** Elements row-major, whatever their order in the storage. */
    private static void convert(ByteBuffer bytes, Window window, float[] numbers) {
        int[] sizes = window.sizes();
        int[] place = new int[sizes.length];
        long at = 0;
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = number(bytes, window.storage().type(), (int) at);
            for (int axis = sizes.length - 1; axis >= 0; axis--) {
                at += window.strides()[axis];
                if (++place[axis] < sizes[axis]) {
                    break;
                }
                at -= window.strides()[axis] * sizes[axis];
                place[axis] = 0;
            }
        }
    }

    private static float number(ByteBuffer bytes, TorchPickle.Type type, int at) {
        return switch (type) {
            case FLOAT32 -> bytes.getFloat(4 * at);
            case FLOAT64 -> (float) bytes.getDouble(8 * at);
            case FLOAT16 -> HalfFloats.fromF16(bytes.getShort(2 * at));
            case BFLOAT16 -> HalfFloats.fromBf16(bytes.getShort(2 * at));
            default -> throw new IllegalArgumentException(type.toString());
        };
    }

    @Override
    public Map<String, String> metadata() {
        return Map.of();
    }

    @Override
    public void close() {
        try {
            storages.close();
        } catch (IOException e) {
            throw unreadable(path, e);
        }
    }

    private Window window(String name) {
        Window window = tensors.get(name);
        if (window == null) {
            throw new TensorFileException(path + ": has no tensor \"" + Printable.of(name) + "\" among its " + tensors.size());
        }
        return window;
    }

    private static TensorFileException unreadable(Path path, IOException e) {
        return new TensorFileException(path + ": cannot be read (" + SafetensorsFile.reason(e)
                + "); check that it is completely downloaded", e);
    }
}
