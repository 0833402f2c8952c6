package io.github.ptq4vit.tensor;

import io.github.ptq4vit.tensor.TorchPickle.Storage;
import io.github.ptq4vit.tensor.TorchPickle.Type;
import io.github.ptq4vit.tensor.TorchPickle.Window;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Weights as {@code torch.save} writes them (.pth, .pt, .bin): a dictionary of names and tensors, or one inside a dictionary
 * under a usual name. Nothing in the file is executed, see {@link TorchPickle}.
 */
final class TorchFile implements TensorSource {
    /** Under these names training scripts keep the weights, the first that is there counts. */
    private static final List<String> INSIDE = List.of("state_dict", "model", "model_state_dict", "module");
    private static final String PARALLEL = "module.";
    private static final int LISTED = 6;

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
                return new TorchFile(path, container.storages(), weights(path, container.root()));
            } catch (RuntimeException | Error e) {
                container.storages().close();
                throw e;
            }
        } catch (IOException e) {
            throw unreadable(path, e);
        }
    }

    private static Map<String, Window> weights(Path path, Object root) {
        if (!(root instanceof Map<?, ?> map)) {
            throw new TensorFileException(path + ": holds " + (root == null ? "nothing" : "no dictionary")
                    + ", expected is a model's state_dict()");
        }
        Map<?, ?> weights = map;
        for (String name : INSIDE) {
            if (map.get(name) instanceof Map<?, ?> inner) {
                weights = inner;
                break;
            }
        }
        Map<String, Window> tensors = new LinkedHashMap<>();
        weights.forEach((name, value) -> {
            if (value instanceof Window window) {
                tensors.put(name.toString(), window);
            }
        });
        if (tensors.isEmpty()) {
            throw new TensorFileException(path + ": holds no tensors; its entries are "
                    + String.join(", ", map.keySet().stream().map(String::valueOf).sorted().limit(LISTED).toList()));
        }
        if (!tensors.keySet().stream().allMatch(name -> name.startsWith(PARALLEL))) {
            return tensors;
        }
        Map<String, Window> plain = new LinkedHashMap<>();
        tensors.forEach((name, window) -> plain.put(name.substring(PARALLEL.length()), window));
        return plain;
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
    public Shape shape(String name) {
        return Shape.of(window(name).sizes());
    }

    @Override
    public Tensor read(String name) {
        Window window = window(name);
        Type type = window.storage().type();
        if (type != Type.FLOAT32 && type != Type.FLOAT64 && type != Type.FLOAT16 && type != Type.BFLOAT16) {
            throw new TensorFileException(path + ": tensor " + name + " is " + type + ", expected is a floating point type");
        }
        int[] sizes = window.sizes();
        long last = window.offset();
        for (int axis = 0; axis < sizes.length; axis++) {
            last = Math.addExact(last, Math.multiplyExact(Math.max(0, sizes[axis] - 1L), window.strides()[axis]));
        }
        boolean inside = window.offset() >= 0 && Arrays.stream(window.strides()).allMatch(stride -> stride >= 0)
                && last < window.storage().elements();
        long count = Shape.of(sizes).elements();
        long span = last - window.offset() + 1;
        if (count > 0 && !inside || span * type.bytes() > Integer.MAX_VALUE) {
            throw new TensorFileException(path + ": tensor " + name + " of shape " + Shape.of(sizes)
                    + " does not lie within its storage of " + window.storage().elements() + " elements");
        }
        float[] numbers = new float[Math.toIntExact(count)];
        if (count > 0) {
            try {
                convert(storages.read(window.storage(), window.offset(), (int) span).order(ByteOrder.LITTLE_ENDIAN), window, numbers);
            } catch (IOException e) {
                throw unreadable(path, e);
            }
        }
        return Tensor.of(Shape.of(sizes), numbers);
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

    private static float number(ByteBuffer bytes, Type type, int at) {
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
            throw new TensorFileException(path + ": has no tensor \"" + name + "\" among its " + tensors.size());
        }
        return window;
    }

    private static TensorFileException unreadable(Path path, IOException e) {
        return new TensorFileException(path + ": cannot be read (" + SafetensorsFile.reason(e)
                + "); check that it is completely downloaded", e);
    }
}
