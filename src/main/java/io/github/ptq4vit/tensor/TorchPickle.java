package io.github.ptq4vit.tensor;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import net.razorvine.pickle.IObjectConstructor;
import net.razorvine.pickle.Opcodes;
import net.razorvine.pickle.Unpickler;

/**
 * Reads the pickles of PyTorch's files: numbers, texts, containers, and tensors, whose elements are elsewhere. Everything
 * else that a pickle may ask for, which in Python would run code, is refused by name.
 */
final class TorchPickle extends Unpickler {
    /** Opcodes that are followed by a length of four or eight bytes; it may not go beyond the end. */
    private static final Set<Short> LENGTH_4 = Set.of((short) Opcodes.BINUNICODE, (short) Opcodes.BINSTRING,
            (short) Opcodes.BINBYTES, (short) Opcodes.LONG4);
    private static final Set<Short> LENGTH_8 = Set.of((short) Opcodes.BINUNICODE8, (short) Opcodes.BINBYTES8,
            (short) Opcodes.BYTEARRAY8);
    private static final Set<Short> OTHER_WAYS_TO_OBJECTS = Set.of((short) Opcodes.INST, (short) Opcodes.OBJ,
            (short) Opcodes.NEWOBJ, (short) Opcodes.NEWOBJ_EX, (short) Opcodes.EXT1, (short) Opcodes.EXT2, (short) Opcodes.EXT4,
            (short) Opcodes.NEXT_BUFFER);

    private final String file;
    private final Map<String, Storage> storages = new HashMap<>();

    /** @param file for messages */
    TorchPickle(String file) {
        this.file = file;
    }

    /**
     * A type of elements.
     *
     * @param name PyTorch's name of a storage of them
     */
    enum Type {
        FLOAT32("FloatStorage", 4), FLOAT64("DoubleStorage", 8), FLOAT16("HalfStorage", 2), BFLOAT16("BFloat16Storage", 2),
        INT64("LongStorage", 8), INT32("IntStorage", 4), INT16("ShortStorage", 2), INT8("CharStorage", 1),
        UINT8("ByteStorage", 1), BOOL("BoolStorage", 1);

        private final String storage;
        private final int bytes;

        Type(String storage, int bytes) {
            this.storage = storage;
            this.bytes = bytes;
        }

        int bytes() {
            return bytes;
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

    /** What a name in the pickle stands for. */
    private record Named(String name, IObjectConstructor make) implements IObjectConstructor {
        @Override
        public Object construct(Object[] args) {
            return make.construct(args);
        }
    }

    /** Reads one pickle. */
    Object read(InputStream stream) {
        try {
            return load(stream);
        } catch (IOException e) {
            throw new TensorFileException(file + ": is truncated (" + SafetensorsFile.reason(e) + "); download it again", e);
        } catch (TensorFileException e) {
            throw e;
        } catch (RuntimeException e) {
            // whatever is on the stack is not what an instruction needs
            throw new TensorFileException(file + ": is damaged or no file of PyTorch: its pickle cannot be read", e);
        }
    }

    /** The storages that the tensors read so far lie in, by their keys. */
    Map<String, Storage> storages() {
        return Collections.unmodifiableMap(storages);
    }

    @Override
    protected Object dispatch(short key) throws IOException {
        if (LENGTH_4.contains(key)) {
            checkLength(Integer.BYTES);
        } else if (LENGTH_8.contains(key)) {
            checkLength(Long.BYTES);
        } else if (OTHER_WAYS_TO_OBJECTS.contains(key)) {
            throw refused("objects by way of opcode " + key);
        }
        switch (key) {
            case Opcodes.GLOBAL -> stack.add(named(line() + "." + line()));
            case Opcodes.STACK_GLOBAL -> {
                String name = (String) stack.pop();
                stack.add(named(stack.pop() + "." + name));
            }
            case Opcodes.BUILD -> {
                // attributes of a dictionary of weights, its versions
                stack.pop();
                if (!(stack.peek() instanceof Map)) {
                    throw refused("attributes of an object");
                }
            }
            default -> {
                return super.dispatch(key);
            }
        }
        return NO_RETURN_VALUE;
    }

    @Override
    protected Object persistentLoad(Object id) {
        Object[] parts = (Object[]) id;
        if (!"storage".equals(parts[0]) || parts.length > 5 && parts[5] != null) {
            throw refused("a stored object that is not a whole storage: " + Arrays.toString(parts));
        }
        Type type = (Type) ((Named) parts[1]).construct(new Object[0]);
        Storage storage = new Storage(type, (String) parts[2], ((Number) parts[4]).longValue());
        if (storage.elements() < 0 || !storage.equals(storages.getOrDefault(storage.key(), storage))) {
            throw new IllegalArgumentException("Two tensors tell different things of storage " + storage.key());
        }
        storages.put(storage.key(), storage);
        return storage;
    }

    private Named named(String name) {
        for (Type type : Type.values()) {
            if (name.equals("torch." + type.storage)) {
                return new Named(name, args -> type);
            }
        }
        return switch (name) {
            case "collections.OrderedDict" -> new Named(name, TorchPickle::dictionary);
            case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2" -> new Named(name, TorchPickle::tensor);
            case "torch._utils._rebuild_parameter" -> new Named(name, args -> args[0]);
            default -> throw refused(name);
        };
    }

    /** Either empty or from a list of pairs. */
    private static Map<Object, Object> dictionary(Object[] args) {
        Map<Object, Object> map = new LinkedHashMap<>();
        if (args.length > 0) {
            for (Object pair : (List<?>) args[0]) {
                Object[] entry = pair instanceof List<?> list ? list.toArray() : (Object[]) pair;
                map.put(entry[0], entry[1]);
            }
        }
        return map;
    }

    private static Window tensor(Object[] args) {
        long[] sizes = numbers(args[2]);
        long[] strides = numbers(args[3]);
        if (sizes.length != strides.length) {
            throw new IllegalArgumentException("Sizes and strides of a tensor");
        }
        return new Window((Storage) args[0], ((Number) args[1]).longValue(), Arrays.stream(sizes).mapToInt(Math::toIntExact)
                .toArray(), strides);
    }

    private static long[] numbers(Object tuple) {
        return Arrays.stream((Object[]) tuple).mapToLong(number -> ((Number) number).longValue()).toArray();
    }

    private TensorFileException refused(String what) {
        return new TensorFileException(file + ": its pickle asks for " + what + ", only tensors and containers are read;"
                + " save the model's state_dict() alone, or as safetensors");
    }

    private String line() throws IOException {
        StringBuilder line = new StringBuilder();
        for (int c = input.read(); c != '\n'; c = input.read()) {
            if (c < 0) {
                throw new IOException("premature end of file");
            }
            line.append((char) c);
        }
        return line.toString();
    }

    private void checkLength(int bytes) throws IOException {
        input.mark(bytes);
        ByteBuffer length = ByteBuffer.wrap(Arrays.copyOf(input.readNBytes(bytes), Long.BYTES)).order(ByteOrder.LITTLE_ENDIAN);
        input.reset();
        if (length.getLong(0) < 0 || length.getLong(0) > input.available()) {
            throw new IOException("a text goes beyond the end");
        }
    }
}
