package io.github.ptq4vit.tensor;

import java.nio.ByteBuffer;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads the pickles of PyTorch's files: their tensors, whose elements are elsewhere, and the containers that these are in. */
final class TorchPickle extends PickleReader {
    private static final int MOST_AXES = 64;

    private final String file;
    private final Map<String, Storage> storages = new HashMap<>();

    /** @param file for messages */
    TorchPickle(String file) {
        this.file = file;
    }

    /** A type of elements: PyTorch's name of a storage of them, and the bytes of one. */
    enum Type {
        FLOAT32("FloatStorage", 4), FLOAT64("DoubleStorage", 8), FLOAT16("HalfStorage", 2), BFLOAT16("BFloat16Storage", 2),
        INT64("LongStorage", 8), INT32("IntStorage", 4), INT16("ShortStorage", 2), INT8("CharStorage", 1),
        UINT8("ByteStorage", 1), BOOL("BoolStorage", 1), COMPLEX64("ComplexFloatStorage", 8),
        COMPLEX128("ComplexDoubleStorage", 16), QUANTISED_INT8("QInt8Storage", 1), QUANTISED_UINT8("QUInt8Storage", 1),
        QUANTISED_INT32("QInt32Storage", 4), UNTYPED("UntypedStorage", 1);

        private final String storage;
        private final int bytes;

        Type(String storage, int bytes) {
            this.storage = storage;
            this.bytes = bytes;
        }

        int bytes() {
            return bytes;
        }

        boolean isFloat() {
            return this == FLOAT32 || this == FLOAT64 || this == FLOAT16 || this == BFLOAT16;
        }

        private static Type of(String name) {
            for (Type type : values()) {
                if (name.startsWith("torch.") && name.endsWith("." + type.storage)) {
                    return type;
                }
            }
            throw new PickleException("it has elements of the unknown type " + Printable.of(name));
        }
    }

    /**
     * Elements somewhere in the file.
     *
     * @param key under which they are found
     * @param elements how many
     */
    record Storage(Type type, String key, long elements) {
    }

    /** A strided window on a storage; offset and strides in elements. */
    record Window(Storage storage, long offset, int[] sizes, long[] strides) {
    }

    /**
     * Reads one pickle.
     *
     * @param bytes its position moves behind the pickle
     */
    Object read(ByteBuffer bytes) {
        try {
            return load(bytes);
        } catch (PickleException e) {
            throw new TensorFileException(file + ": is damaged, cut off or no file of PyTorch: its pickle cannot be read, "
                    + e.getMessage() + "; download it again", e);
        }
    }

    /** The storages that the tensors read so far lie in, by their keys. */
    Map<String, Storage> storages() {
        return Collections.unmodifiableMap(storages);
    }

    @Override
    Object persistent(Object id) {
        if (!(id instanceof List<?> parts) || parts.size() < 5 || !"storage".equals(parts.get(0))) {
            return new PickleObject("unknown persistent id");
        }
        if (!(parts.get(1) instanceof Global type) || !(parts.get(2) instanceof String key) || !(parts.get(4) instanceof Long elements)
                || elements < 0) {
            throw damaged();
        }
        if (parts.size() > 5 && parts.get(5) != null) {
            throw new PickleException("a storage is a part of another, as only very old versions of PyTorch write it");
        }
        Storage storage = new Storage(Type.of(type.name()), key, elements);
        if (!storage.equals(storages.getOrDefault(key, storage))) {
            throw new PickleException("two tensors tell different things of the storage " + Printable.of(key));
        }
        storages.put(key, storage);
        return storage;
    }

    @Override
    Object call(String name, List<?> arguments) {
        return switch (name) {
            case "collections.OrderedDict", "collections.defaultdict", "collections.Counter" -> dictionary(arguments);
            case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3" ->
                tensor(arguments);
            case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state" -> first(arguments);
            case "torch._tensor._rebuild_from_type_v2" -> {
                if (arguments.size() < 3 || !(arguments.get(0) instanceof Global function)
                        || !(arguments.get(2) instanceof List<?> inner) || function.name().equals(name)) {
                    yield new PickleObject(name);
                }
                yield call(function.name(), inner);
            }
            case "copyreg._reconstructor", "copy_reg._reconstructor" ->
                new PickleObject(first(arguments) instanceof Global type ? type.name() : name);
            default -> new PickleObject(name);
        };
    }

    private static Object first(List<?> arguments) {
        if (arguments.isEmpty()) {
            throw damaged();
        }
        return arguments.get(0);
    }

    /** Empty, from a list of pairs, or of another dictionary. */
    private Map<Object, Object> dictionary(List<?> arguments) {
        Map<Object, Object> map = new LinkedHashMap<>();
        for (Object argument : arguments) {
            if (argument instanceof Map<?, ?> other) {
                charge(other.size());
                map.putAll(other);
            } else if (argument instanceof List<?> pairs) {
                charge(pairs.size());
                for (Object pair : pairs) {
                    if (!(pair instanceof List<?> entry) || entry.size() != 2) {
                        throw damaged();
                    }
                    put(map, entry.get(0), entry.get(1));
                }
            }
        }
        return map;
    }

    private static Object tensor(List<?> arguments) {
        if (arguments.size() < 4 || !(arguments.get(0) instanceof Storage storage) || !(arguments.get(1) instanceof Long offset)) {
            throw damaged();
        }
        long[] sizes = numbers(arguments.get(2));
        long[] strides = numbers(arguments.get(3));
        if (sizes.length != strides.length) {
            throw new PickleException("a tensor has " + sizes.length + " sizes and " + strides.length + " strides");
        }
        int[] small = new int[sizes.length];
        for (int axis = 0; axis < sizes.length; axis++) {
            if (sizes[axis] < 0 || sizes[axis] > Integer.MAX_VALUE) {
                throw new PickleException("a tensor has the size " + sizes[axis]);
            }
            small[axis] = (int) sizes[axis];
        }
        return new Window(storage, offset, small, strides);
    }

    private static long[] numbers(Object tuple) {
        if (!(tuple instanceof List<?> list) || list.size() > MOST_AXES) {
            throw damaged();
        }
        return list.stream().mapToLong(number -> {
            if (number instanceof Long whole) {
                return whole;
            }
            throw damaged();
        }).toArray();
    }
}
