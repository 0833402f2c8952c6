package io.github.ptq4vit.tensor;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * Writes a safetensors file. The same calls give the same bytes: tensors in the order they were added, metadata sorted,
 * the header padded with spaces to a multiple of 8. Tensors follow each other without gaps, so add wide types before
 * narrow ones to keep them aligned.
 *
 * <p>{@link #write} streams through a small buffer into a file beside the target and renames it when it is complete and
 * on disk: the target is either the old file or the whole new one. Not safe for use by several threads.
 *
 * <pre>{@code new SafetensorsWriter().metadata("model", "vit").add("weight", tensor).write(path);}</pre>
 */
public final class SafetensorsWriter {
    private static final int BUFFER_BYTES = 1 << 20;

    private final Map<String, String> metadata = new TreeMap<>();
    private final Map<String, Entry> entries = new LinkedHashMap<>();

    /** Sets a metadata entry, replacing one of the same key. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /** Adds an F32 tensor. Its memory is read when the file is written. */
    public SafetensorsWriter add(String name, Tensor tensor) {
        return add(name, tensor.shape(), () -> tensor);
    }

    /**
     * Adds an F32 tensor that is made only when its turn comes, so that one at a time is in memory.
     *
     * @param data called once per {@link #write}; must return a tensor of that shape
     */
    public SafetensorsWriter add(String name, Shape shape, Supplier<Tensor> data) {
        return put(name, DType.F32, shape, out -> {
            Tensor tensor = data.get();
            if (!tensor.shape().equals(shape)) {
                throw new IllegalArgumentException("Tensor \"" + name + "\" was announced with shape " + shape
                        + " but made with " + tensor.shape());
            }
            FloatBuffer numbers = tensor.data().duplicate();
            while (numbers.hasRemaining()) {
                int count = Math.min(out.room(Float.BYTES) / Float.BYTES, numbers.remaining());
                out.buffer.asFloatBuffer().put(numbers.slice(numbers.position(), count));
                out.buffer.position(out.buffer.position() + count * Float.BYTES);
                numbers.position(numbers.position() + count);
            }
        });
    }

    /**
     * Adds an I8 or U8 tensor.
     *
     * @throws IllegalArgumentException for another dtype, or when the array does not fit the shape
     */
    public SafetensorsWriter addBytes(String name, DType dtype, Shape shape, byte... data) {
        if (dtype != DType.I8 && dtype != DType.U8) {
            throw new IllegalArgumentException("Bytes are written as I8 or U8, not " + dtype);
        }
        checkLength(name, shape, data.length);
        return put(name, dtype, shape, out -> {
            for (int from = 0; from < data.length;) {
                int count = Math.min(out.room(1), data.length - from);
                out.buffer.put(data, from, count);
                from += count;
            }
        });
    }

    /**
     * Adds an I32 tensor.
     *
     * @throws IllegalArgumentException when the array does not fit the shape
     */
    public SafetensorsWriter addInts(String name, Shape shape, int... data) {
        checkLength(name, shape, data.length);
        return put(name, DType.I32, shape, out -> {
            for (int number : data) {
                out.room(Integer.BYTES);
                out.buffer.putInt(number);
            }
        });
    }

    /**
     * Adds an I64 tensor.
     *
     * @throws IllegalArgumentException when the array does not fit the shape
     */
    public SafetensorsWriter addLongs(String name, Shape shape, long... data) {
        checkLength(name, shape, data.length);
        return put(name, DType.I64, shape, out -> {
            for (long number : data) {
                out.room(Long.BYTES);
                out.buffer.putLong(number);
            }
        });
    }

    /**
     * Writes the file: first all bytes to {@code <target>.tmp}, then, once they are on disk, a rename over the target.
     * When anything fails, the temporary file is removed and the target is as it was.
     *
     * @throws TensorFileException when the file cannot be written, with the reason
     */
    public void write(Path target) {
        if (Files.isDirectory(target)) {
            throw new TensorFileException(target + ": is a folder; give the path of a file");
        }
        Path folder = target.toAbsolutePath().getParent();
        if (!Files.isDirectory(folder)) {
            throw new TensorFileException(target + ": its folder " + folder + " does not exist; make it first");
        }
        try {
            WholeFile.write(target, this::writeTo);
        } catch (IOException e) {
            throw new TensorFileException(target + ": cannot be written (" + SafetensorsFile.reason(e)
                    + "); nothing was changed, make room or check the rights of " + folder, e);
        }
    }

    private void writeTo(FileChannel channel) throws IOException {
        Out out = new Out(channel);
        byte[] header = header();
        out.buffer.putLong(header.length);
        out.flush();
        out.write(ByteBuffer.wrap(header));
        for (Entry entry : entries.values()) {
            entry.data.writeTo(out);
        }
        out.flush();
    }

    private byte[] header() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (JsonGenerator json = new JsonFactory().createGenerator(bytes)) {
            json.writeStartObject();
            if (!metadata.isEmpty()) {
                json.writeObjectFieldStart(SafetensorsHeader.METADATA);
                for (Map.Entry<String, String> entry : metadata.entrySet()) {
                    json.writeStringField(entry.getKey(), entry.getValue());
                }
                json.writeEndObject();
            }
            long begin = 0;
            for (Map.Entry<String, Entry> entry : entries.entrySet()) {
                long end = begin + entry.getValue().bytes();
                json.writeObjectFieldStart(entry.getKey());
                json.writeStringField("dtype", entry.getValue().dtype.name());
                json.writeFieldName("shape");
                int[] sizes = entry.getValue().shape.toArray();
                json.writeArray(sizes, 0, sizes.length);
                json.writeFieldName("data_offsets");
                json.writeArray(new long[] {begin, end}, 0, 2);
                json.writeEndObject();
                begin = end;
            }
            json.writeEndObject();
        }
        byte[] header = bytes.toByteArray();
        byte[] padded = Arrays.copyOf(header, (header.length + 7) / 8 * 8);
        Arrays.fill(padded, header.length, padded.length, (byte) ' ');
        return padded;
    }

    private SafetensorsWriter put(String name, DType dtype, Shape shape, Data data) {
        if (name.equals(SafetensorsHeader.METADATA)) {
            throw new IllegalArgumentException("A tensor cannot be named " + name + ", the format reserves that name");
        }
        if (entries.putIfAbsent(name, new Entry(dtype, shape, data)) != null) {
            throw new IllegalArgumentException("Tensor \"" + name + "\" was added before; names must differ");
        }
        return this;
    }

    private static void checkLength(String name, Shape shape, int length) {
        if (shape.elements() != length) {
            throw new IllegalArgumentException("Tensor \"" + name + "\" of shape " + shape + " needs "
                    + shape.elements() + " numbers, the array holds " + length);
        }
    }

    private record Entry(DType dtype, Shape shape, Data data) {
        long bytes() {
            return shape.elements() * dtype.bytes();
        }
    }

    @FunctionalInterface
    private interface Data {
        void writeTo(Out out) throws IOException;
    }

    /** The file behind a buffer. */
    private static final class Out {
        final ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        private final FileChannel channel;

        Out(FileChannel channel) {
            this.channel = channel;
        }

        /** Bytes free in the buffer, after emptying it if fewer than {@code needed} are. */
        int room(int needed) throws IOException {
            if (buffer.remaining() < needed) {
                flush();
            }
            return buffer.remaining();
        }

        void flush() throws IOException {
            write(buffer.flip());
            buffer.clear();
        }

        void write(ByteBuffer bytes) throws IOException {
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        }
    }
}
