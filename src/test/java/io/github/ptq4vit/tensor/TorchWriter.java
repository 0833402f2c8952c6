package io.github.ptq4vit.tensor;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/** Writes what torch.save writes: a zip archive of a pickle of protocol 2 and the elements of the tensors. */
public final class TorchWriter {
    private final ByteArrayOutputStream pickle = new ByteArrayOutputStream();
    private final List<Tensor> storages = new ArrayList<>();

    /** An object that Python would build: a class, what it is called with, and attributes, or null for none. */
    public record Built(String module, String name, List<?> arguments, Object attributes) {
    }

    private TorchWriter() {
    }

    /** Writes a tree of maps, lists, texts, numbers, tensors and {@link Built}. */
    public static Path write(Path file, Object root) {
        TorchWriter writer = new TorchWriter();
        writer.code(0x80, 2);
        writer.value(root);
        writer.code('.');
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
            zip.putNextEntry(new ZipEntry("archive/data.pkl"));
            zip.write(writer.pickle.toByteArray());
            for (int i = 0; i < writer.storages.size(); i++) {
                zip.putNextEntry(new ZipEntry("archive/data/" + i));
                float[] numbers = writer.storages.get(i).toArray();
                ByteBuffer bytes = ByteBuffer.allocate(4 * numbers.length).order(ByteOrder.LITTLE_ENDIAN);
                bytes.asFloatBuffer().put(numbers);
                zip.write(bytes.array());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return file;
    }

    private void value(Object value) {
        if (value == null) {
            code('N');
        } else if (value instanceof Map<?, ?> map) {
            code('}', '(');
            map.forEach((key, entry) -> {
                value(key);
                value(entry);
            });
            code('u');
        } else if (value instanceof List<?> list) {
            code(']', '(');
            list.forEach(this::value);
            code('e');
        } else if (value instanceof String text) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            code('X');
            number(bytes.length);
            pickle.writeBytes(bytes);
        } else if (value instanceof Boolean flag) {
            code(flag ? 0x88 : 0x89);
        } else if (value instanceof Number number) {
            code('J');
            number(number.intValue());
        } else if (value instanceof Tensor tensor) {
            tensor(tensor);
        } else if (value instanceof Built built) {
            global(built.module(), built.name());
            tuple(built.arguments());
            code('R');
            if (built.attributes() != null) {
                value(built.attributes());
                code('b');
            }
        } else {
            throw new IllegalArgumentException(value.toString());
        }
    }

    private void tensor(Tensor tensor) {
        int[] sizes = tensor.shape().toArray();
        List<Integer> shape = new ArrayList<>();
        List<Integer> strides = new ArrayList<>();
        int stride = 1;
        for (int axis = sizes.length - 1; axis >= 0; axis--) {
            shape.add(0, sizes[axis]);
            strides.add(0, stride);
            stride *= sizes[axis];
        }
        global("torch._utils", "_rebuild_tensor_v2");
        code('(', '(');
        value("storage");
        global("torch", "FloatStorage");
        value(String.valueOf(storages.size()));
        value("cpu");
        value(tensor.data().limit());
        code('t', 'Q');
        value(0);
        tuple(shape);
        tuple(strides);
        code(0x89);
        global("collections", "OrderedDict");
        code(')', 'R', 't', 'R');
        storages.add(tensor);
    }

    private void tuple(List<?> values) {
        code('(');
        values.forEach(this::value);
        code('t');
    }

    private void global(String module, String name) {
        code('c');
        pickle.writeBytes((module + "\n" + name + "\n").getBytes(StandardCharsets.UTF_8));
    }

    private void code(int... codes) {
        for (int code : codes) {
            pickle.write(code);
        }
    }

    private void number(int number) {
        pickle.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(number).array());
    }
}
