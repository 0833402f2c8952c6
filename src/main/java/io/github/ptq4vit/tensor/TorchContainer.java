package io.github.ptq4vit.tensor;

import io.github.ptq4vit.tensor.TorchFile.Storages;
import io.github.ptq4vit.tensor.TorchPickle.Storage;
import java.io.ByteArrayInputStream;
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

    static TorchContainer open(Path path) throws IOException {
        try (InputStream start = Files.newInputStream(path)) {
            return start.read() == 'P' ? zip(path) : legacy(path);
        }
    }

    private static TorchContainer zip(Path path) throws IOException {
        ZipFile zip = new ZipFile(path.toFile());
        try {
            String pickle = zip.stream().map(ZipEntry::getName).filter(name -> name.endsWith(PICKLE)).findFirst()
                    .orElseThrow(() -> new TensorFileException(path + ": is a zip archive without the data.pkl of PyTorch"));
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
            Object root = new TorchPickle(path.toString()).read(new ByteArrayInputStream(bytes(zip, entry, 0, entry.getSize())));
            return new TorchContainer(root, new Zipped(zip, folder + "/data/"));
        } catch (RuntimeException | IOException | Error e) {
            zip.close();
            throw e;
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
                throw new IOException(prefix + storage.key() + " is missing");
            }
            int size = storage.type().bytes();
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
        InputStream stream = new BufferStream(file);
        Object magic = next(path, stream);
        Object protocol = MAGIC.equals(magic) ? next(path, stream) : "none";
        if (!Integer.valueOf(PROTOCOL).equals(protocol)) {
            throw new TensorFileException(path + ": is a pickle, but not of PyTorch (protocol " + protocol + ")");
        }
        if (next(path, stream) instanceof Map<?, ?> system && Boolean.FALSE.equals(system.get("little_endian"))) {
            throw new TensorFileException(path + ": was written by a big endian machine, which is not supported");
        }
        TorchPickle pickle = new TorchPickle(path.toString());
        Object root = pickle.read(stream);
        if (!(next(path, stream) instanceof List<?> keys)) {
            throw new TensorFileException(path + ": is damaged: the list of its storages is missing");
        }
        Map<String, Integer> places = new HashMap<>();
        for (Object key : keys) {
            if (file.remaining() < Long.BYTES) {
                throw new EOFException("storage " + key + " is missing");
            }
            long elements = file.getLong();
            Storage storage = pickle.storages().get(key.toString());
            if (storage == null || elements != storage.elements()) {
                throw new TensorFileException(path + ": is damaged: storage " + key + " has not the size that its tensors expect");
            }
            if (elements > file.remaining() / storage.type().bytes()) {
                throw new EOFException("storage " + key + " goes beyond the end");
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
                throw new IOException("storage " + storage.key() + " is missing");
            }
            int size = storage.type().bytes();
            return file.slice(place + (int) from * size, count * size);
        }

        @Override
        public void close() {
            // the mapping goes with the last reference to it
        }
    }

    private static Object next(Path path, InputStream stream) {
        return new TorchPickle(path.toString()).read(stream);
    }
}
