package io.github.ptq4vit.tensor;

import io.github.ptq4vit.tensor.TorchFile.Storages;
import io.github.ptq4vit.tensor.TorchPickle.Storage;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * The two layouts of PyTorch's files: since version 1.6 a zip archive with a pickle {@code data.pkl} and one entry a
 * storage, before that a sequence of pickles followed by the storages.
 *
 * @param root what was saved
 * @param storages where its tensors' elements are
 */
record TorchContainer(Object root, Storages storages) {
    private static final String PICKLE = "/data.pkl";
    private static final BigInteger MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);
    private static final int PROTOCOL = 1001;
    private static final long LARGEST_PICKLE = 1 << 28;
    /** PyTorch does not compress; who did later saves some per cent. What unpacks to much more is no file of weights. */
    private static final long UNPACKED_BEYOND_SIZE = 1 << 26;

    static TorchContainer open(Path path) throws IOException {
        try (InputStream start = Files.newInputStream(path)) {
            return start.read() == 'P' ? zip(path) : legacy(path);
        }
    }

    private static TorchContainer zip(Path path) throws IOException {
        ZipFile zip = new ZipFile(path.toFile());
        try {
            checkUnpacked(path, zip);
            String pickle = zip.stream().map(ZipEntry::getName).filter(name -> name.endsWith(PICKLE)).findFirst()
                    .orElseThrow(() -> new TensorFileException(path + ": is " + (zip.stream().anyMatch(entry ->
                            entry.getName().endsWith(".npy")) ? "an archive of NumPy (.npz), which is not read"
                            : "a zip archive without the data.pkl of PyTorch") + "; expected are weights in safetensors or as"
                            + " torch.save writes them"));
            String folder = pickle.substring(0, pickle.length() - PICKLE.length());
            if (zip.getEntry(folder + "/constants.pkl") != null) {
                throw new TensorFileException(path + ": is a TorchScript program; save the model's state_dict() instead");
            }
            ZipEntry order = zip.getEntry(folder + "/byteorder");
            if (order != null && !new String(bytes(zip, order, 0, order.getSize()), StandardCharsets.US_ASCII).equals("little")) {
                throw new TensorFileException(path + ": was written by a big endian machine, which is not supported");
            }
            ZipEntry entry = zip.getEntry(pickle);
            if (entry.getSize() > LARGEST_PICKLE) {
                throw new TensorFileException(path + ": its data.pkl has " + entry.getSize() + " bytes, at most "
                        + LARGEST_PICKLE + " are read");
            }
            Object root = new TorchPickle(path.toString()).read(ByteBuffer.wrap(bytes(zip, entry, 0, entry.getSize())));
            return new TorchContainer(root, new Zipped(zip, folder + "/data/"));
        } catch (RuntimeException | IOException | Error e) {
            zip.close();
            throw e;
        }
    }

    private static void checkUnpacked(Path path, ZipFile zip) throws IOException {
        long allowed = Files.size(path) + UNPACKED_BEYOND_SIZE;
        long unpacked = 0;
        for (ZipEntry entry : zip.stream().toList()) {
            // -1 where the archive does not say
            long size = Math.max(0, entry.getSize());
            if (size > allowed - unpacked) {
                throw new TensorFileException(path + ": is compressed to less than its tensors take (" + Files.size(path)
                        + " bytes in the file); save it again with torch.save");
            }
            unpacked += size;
        }
    }

    private static byte[] bytes(ZipFile zip, ZipEntry entry, long from, long count) throws IOException {
        try (InputStream stream = zip.getInputStream(entry)) {
            stream.skipNBytes(from);
            byte[] bytes = stream.readNBytes(Math.toIntExact(count));
            if (bytes.length < count) {
                throw new EOFException(entry.getName() + " is shorter than its tensors");
            }
            return bytes;
        }
    }

    private record Zipped(ZipFile zip, String prefix) implements Storages {
        @Override
        public ByteBuffer read(Storage storage, long from, int count) throws IOException {
            ZipEntry entry = zip.getEntry(prefix + storage.key());
            if (entry == null) {
                throw new IOException(Printable.of(prefix + storage.key()) + " is missing");
            }
            int size = storage.type().bytes();
            if (storage.elements() > entry.getSize() / size) {
                throw new EOFException(entry.getName() + " is shorter than its tensors");
            }
            return ByteBuffer.wrap(bytes(zip, entry, from * size, (long) count * size));
        }

        @Override
        public void close() throws IOException {
            zip.close();
        }
    }

    private static TorchContainer legacy(Path path) throws IOException {
        ByteBuffer file;
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            if (channel.size() > Integer.MAX_VALUE) {
                throw new TensorFileException(path + ": is of PyTorch's old format and larger than 2 GiB; load it and save it again");
            }
            file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()).order(ByteOrder.LITTLE_ENDIAN);
        }
        if (!MAGIC.equals(next(path, file)) || !Long.valueOf(PROTOCOL).equals(next(path, file))) {
            throw new TensorFileException(path + ": is a pickle, but none that torch.save wrote; load it in Python and save the"
                    + " model's state_dict() with torch.save, or as safetensors");
        }
        if (next(path, file) instanceof Map<?, ?> system && Boolean.FALSE.equals(system.get("little_endian"))) {
            throw new TensorFileException(path + ": was written by a big endian machine, which is not supported");
        }
        TorchPickle pickle = new TorchPickle(path.toString());
        Object root = pickle.read(file);
        if (!(next(path, file) instanceof List<?> keys)) {
            throw new TensorFileException(path + ": is damaged: the list of its storages is missing");
        }
        Map<String, Integer> places = new HashMap<>();
        for (Object name : keys) {
            String key = name instanceof String text ? text : "";
            if (file.remaining() < Long.BYTES) {
                throw new EOFException("storage " + Printable.of(key) + " is missing");
            }
            long elements = file.order(ByteOrder.LITTLE_ENDIAN).getLong();
            Storage storage = pickle.storages().get(key);
            if (storage == null || elements != storage.elements()) {
                throw new TensorFileException(path + ": is damaged: storage " + Printable.of(key) + " has not the size that its tensors expect");
            }
            if (elements > file.remaining() / storage.type().bytes()) {
                throw new EOFException("storage " + Printable.of(key) + " goes beyond the end");
            }
            places.put(storage.key(), file.position());
            file.position(file.position() + (int) elements * storage.type().bytes());
        }
        return new TorchContainer(root, new Mapped(file, places));
    }

    private record Mapped(ByteBuffer file, Map<String, Integer> places) implements Storages {
        @Override
        public ByteBuffer read(Storage storage, long from, int count) throws IOException {
            Integer place = places.get(storage.key());
            if (place == null) {
                throw new IOException("storage " + Printable.of(storage.key()) + " is missing");
            }
            int size = storage.type().bytes();
            return file.slice(Math.toIntExact(place + from * size), Math.multiplyExact(count, size));
        }

        @Override
        public void close() {
            // the mapping goes with the last reference to it
        }
    }

    private static Object next(Path path, ByteBuffer file) {
        return new TorchPickle(path.toString()).read(file);
    }
}
