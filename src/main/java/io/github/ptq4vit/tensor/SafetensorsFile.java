package io.github.ptq4vit.tensor;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A safetensors file opened for reading: 8 bytes of header length (little-endian), a JSON header, the bytes of the
 * tensors. Opening reads and checks the header only; each tensor's bytes are memory-mapped when asked for, so files of
 * any size can be opened. Tensors already read stay valid after {@link #close()}. Safe for use by several threads.
 *
 * <p>All methods throw {@link TensorFileException} with a message that names the file when it is missing, damaged or
 * does not hold what is asked for. The format: https://huggingface.co/docs/safetensors.
 */
public final class SafetensorsFile implements TensorSource {
    /** The bound of the format's reference implementation; a longer header is an attack or not a header. */
    private static final long MAX_HEADER = 100_000_000;
    private static final int LENGTH_BYTES = 8;
    /** Largest array every Java VM can make. */
    private static final long MAX_ARRAY = Integer.MAX_VALUE - 8;
    private static final int SHOWN_NAMES = 5;

    private final Path path;
    private final FileChannel channel;
    private final long viewLimit;
    private final long window;
    private final Map<String, TensorInfo> tensors;
    private final Map<String, String> metadata;

    private SafetensorsFile(Path path, FileChannel channel, long viewLimit, long window) throws IOException {
        this.path = path;
        this.channel = channel;
        this.viewLimit = viewLimit;
        this.window = window;
        long size = channel.size();
        long dataStart = LENGTH_BYTES + headerLength(size);
        ByteBuffer header = bytes(LENGTH_BYTES, (int) (dataStart - LENGTH_BYTES));
        SafetensorsHeader parsed = SafetensorsHeader.parse(path.toString(), header, dataStart, size);
        this.tensors = Collections.unmodifiableMap(new LinkedHashMap<>(parsed.tensors()));
        this.metadata = Collections.unmodifiableMap(parsed.metadata());
    }

    /**
     * Opens a file and checks its header.
     *
     * @throws TensorFileException when the file is missing, unreadable, or not a complete safetensors file
     */
    public static SafetensorsFile open(Path path) {
        return open(path, Integer.MAX_VALUE, 1 << 28);
    }

    /**
     * As {@link #open(Path)}, with other limits so that tests need no huge files.
     *
     * @param viewLimit longest F32 tensor in bytes that is returned as a view of the mapped file
     * @param window bytes mapped at a time while converting
     */
    static SafetensorsFile open(Path path, long viewLimit, long window) {
        if (Files.isDirectory(path)) {
            throw new TensorFileException(path + ": is a folder; give the path of the .safetensors file inside it");
        }
        FileChannel channel;
        try {
            channel = FileChannel.open(path, StandardOpenOption.READ);
        } catch (NoSuchFileException e) {
            throw new TensorFileException(path + ": no such file; check the path", e);
        } catch (IOException e) {
            throw unreadable(path, e);
        }
        try {
            return new SafetensorsFile(path, channel, viewLimit, window);
        } catch (IOException e) {
            closeQuietly(channel, e);
            throw unreadable(path, e);
        } catch (RuntimeException | Error e) {
            closeQuietly(channel, e);
            throw e;
        }
    }

    /** The path the file was opened with. */
    @Override
    public Path path() {
        return path;
    }

    /** The file's {@code __metadata__}, sorted by key; empty when it has none. */
    @Override
    public Map<String, String> metadata() {
        return metadata;
    }

    /** Names of all tensors in the order of the header. */
    @Override
    public Set<String> names() {
        return tensors.keySet();
    }

    /** Whether the file holds a tensor of this name. */
    @Override
    public boolean contains(String name) {
        return tensors.containsKey(name);
    }

    @Override
    public Shape shape(String name) {
        return info(name).shape();
    }

    /**
     * Type, shape and place of a tensor.
     *
     * @throws TensorFileException when there is none of this name; the message lists the nearest names
     */
    public TensorInfo info(String name) {
        TensorInfo info = tensors.get(name);
        if (info == null) {
            throw new TensorFileException(path + ": has no tensor \"" + name + "\" among its " + tensors.size()
                    + "; " + nearNames(name));
        }
        return info;
    }

    /**
     * A floating point tensor as float32. F32 is a read-only view of the mapped file (copied to the heap above 2 GiB);
     * F16 and BF16 are converted exactly, F64 is rounded to nearest.
     *
     * @throws TensorFileException when the tensor is missing, has another dtype, or more than 2^31 - 9 elements
     */
    @Override
    public Tensor read(String name) {
        TensorInfo info = typed(name, "read", DType.F32, DType.F16, DType.BF16, DType.F64);
        if (info.dtype() == DType.F32 && info.bytes() <= viewLimit) {
            return new Tensor(info.shape(), map(info, 0, info.bytes()).asFloatBuffer());
        }
        float[] numbers = new float[arrayLength(info)];
        eachWindow(info, (part, from, count) -> {
            switch (info.dtype()) {
                case F32 -> part.asFloatBuffer().get(numbers, from, count);
                case F16 -> {
                    for (int i = 0; i < count; i++) {
                        numbers[from + i] = HalfFloats.fromF16(part.getShort(2 * i));
                    }
                }
                case BF16 -> {
                    for (int i = 0; i < count; i++) {
                        numbers[from + i] = HalfFloats.fromBf16(part.getShort(2 * i));
                    }
                }
                default -> {
                    for (int i = 0; i < count; i++) {
                        numbers[from + i] = (float) part.getDouble(8 * i);
                    }
                }
            }
        });
        return new Tensor(info.shape(), FloatBuffer.wrap(numbers));
    }

    /**
     * The elements of an I8, U8 or BOOL tensor, row-major.
     *
     * @throws TensorFileException when the tensor is missing, has another dtype, or more than 2^31 - 9 elements
     */
    public byte[] readBytes(String name) {
        TensorInfo info = typed(name, "readBytes", DType.I8, DType.U8, DType.BOOL);
        byte[] numbers = new byte[arrayLength(info)];
        eachWindow(info, (part, from, count) -> part.get(numbers, from, count));
        return numbers;
    }

    /**
     * The elements of an I32 tensor, row-major.
     *
     * @throws TensorFileException when the tensor is missing, has another dtype, or more than 2^31 - 9 elements
     */
    public int[] readInts(String name) {
        TensorInfo info = typed(name, "readInts", DType.I32);
        int[] numbers = new int[arrayLength(info)];
        eachWindow(info, (part, from, count) -> part.asIntBuffer().get(numbers, from, count));
        return numbers;
    }

    /**
     * The elements of an I64 tensor, row-major.
     *
     * @throws TensorFileException when the tensor is missing, has another dtype, or more than 2^31 - 9 elements
     */
    public long[] readLongs(String name) {
        TensorInfo info = typed(name, "readLongs", DType.I64);
        long[] numbers = new long[arrayLength(info)];
        eachWindow(info, (part, from, count) -> part.asLongBuffer().get(numbers, from, count));
        return numbers;
    }

    /** Closes the file; tensors already read stay valid. May be called again. */
    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            throw unreadable(path, e);
        }
    }

    private long headerLength(long fileSize) throws IOException {
        if (fileSize < LENGTH_BYTES) {
            throw new TensorFileException(path + ": has " + fileSize + " bytes, a .safetensors file at least "
                    + LENGTH_BYTES + "; is it completely downloaded?");
        }
        long length = bytes(0, LENGTH_BYTES).getLong();
        if (length < 0 || length > MAX_HEADER) {
            throw new TensorFileException(path + ": announces a header of " + Long.toUnsignedString(length)
                    + " bytes, at most " + MAX_HEADER + " are allowed; is this a .safetensors file?");
        }
        if (length > fileSize - LENGTH_BYTES) {
            throw new TensorFileException(path + ": announces a header of " + length + " bytes, only "
                    + (fileSize - LENGTH_BYTES) + " follow; it is truncated or not a .safetensors file");
        }
        return length;
    }

    private ByteBuffer bytes(long offset, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining()) {
            if (channel.read(bytes, offset + bytes.position()) < 0) {
                throw new EOFException("the file became shorter while it was read");
            }
        }
        return bytes.flip();
    }

    private TensorInfo typed(String name, String method, DType... readable) {
        TensorInfo info = info(name);
        for (DType dtype : readable) {
            if (info.dtype() == dtype) {
                return info;
            }
        }
        String reader = switch (info.dtype()) {
            case F32, F16, BF16, F64 -> "use read";
            case I8, U8, BOOL -> "use readBytes";
            case I32 -> "use readInts";
            case I64 -> "use readLongs";
            default -> "convert it to F32 and write the file again";
        };
        throw new TensorFileException(path + ": tensor \"" + name + "\" is " + info.dtype() + ", " + method
                + " expects " + Arrays.toString(readable) + "; " + reader);
    }

    private int arrayLength(TensorInfo info) {
        long elements = info.shape().elements();
        if (elements > MAX_ARRAY) {
            throw new TensorFileException(path + ": tensor \"" + info.name() + "\" of shape " + info.shape() + " has "
                    + elements + " elements, at most " + MAX_ARRAY
                    + " fit into an array; split it and write the file again");
        }
        return (int) elements;
    }

    /** Takes {@code count} elements, the first of which is element {@code from} of the tensor. */
    @FunctionalInterface
    private interface Part {
        void take(ByteBuffer part, int from, int count);
    }

    private void eachWindow(TensorInfo info, Part reader) {
        int size = info.dtype().bytes();
        long step = Math.max(1, window / size);
        long elements = info.shape().elements();
        for (long from = 0; from < elements; from += step) {
            long count = Math.min(step, elements - from);
            reader.take(map(info, from * size, count * size), (int) from, (int) count);
        }
    }

    private ByteBuffer map(TensorInfo info, long offset, long length) {
        if (!channel.isOpen()) {
            throw new TensorFileException(path + ": is closed; read tensor \"" + info.name() + "\" before closing it");
        }
        try {
            return channel.map(FileChannel.MapMode.READ_ONLY, info.begin() + offset, length)
                    .order(ByteOrder.LITTLE_ENDIAN);
        } catch (IOException e) {
            throw unreadable(path, e);
        }
    }

    private String nearNames(String name) {
        if (tensors.isEmpty()) {
            return "it is empty";
        }
        return "the nearest names are " + NearNames.of(name, tensors.keySet(), SHOWN_NAMES).stream()
                .map(near -> '"' + near + '"').collect(Collectors.joining(", "));
    }

    private static TensorFileException unreadable(Path path, IOException e) {
        return new TensorFileException(path + ": cannot be read (" + reason(e) + "); check the file and its rights", e);
    }

    /** The reason in an I/O exception: many carry the path, or nothing, as their message. */
    static String reason(IOException e) {
        String kind = e.getClass().getSimpleName();
        if (e instanceof FileSystemException file) {
            return file.getReason() == null ? kind : file.getReason();
        }
        return e.getMessage() == null ? kind : e.getMessage();
    }

    private static void closeQuietly(FileChannel channel, Throwable cause) {
        try {
            channel.close();
        } catch (IOException e) {
            cause.addSuppressed(e);
        }
    }
}
