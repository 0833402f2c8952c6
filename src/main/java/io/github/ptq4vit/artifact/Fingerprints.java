package io.github.ptq4vit.artifact;

import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/** SHA-256 of what goes into a calibration, in hexadecimal. */
public final class Fingerprints {
    private static final int BUFFER_BYTES = 1 << 16;

    private Fingerprints() {
    }

    /**
     * Of the bytes of files, one after the other.
     *
     * @throws ArtifactException if one cannot be read
     */
    public static String ofFiles(List<Path> files) {
        MessageDigest digest = sha256();
        files.forEach(file -> update(digest, file));
        return hex(digest);
    }

    private static void update(MessageDigest digest, Path file) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            while (channel.read(buffer) >= 0) {
                digest.update(buffer.flip());
                buffer.clear();
            }
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be read (" + Disk.reason(e) + ")", e);
        }
    }

    /** Of image ids: each in UTF-8, followed by a line feed. */
    public static String ofIds(List<String> ids) {
        MessageDigest digest = sha256();
        ids.forEach(id -> digest.update((id + "\n").getBytes(StandardCharsets.UTF_8)));
        return hex(digest);
    }

    /** Of transformed images as little-endian float32. */
    public static String ofPixels(Tensor pixels) {
        MessageDigest digest = sha256();
        FloatBuffer numbers = pixels.data().duplicate();
        ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        while (numbers.hasRemaining()) {
            int count = Math.min(numbers.remaining(), BUFFER_BYTES / Float.BYTES);
            buffer.clear().limit(count * Float.BYTES);
            buffer.asFloatBuffer().put(numbers.slice(numbers.position(), count));
            numbers.position(numbers.position() + count);
            digest.update(buffer);
        }
        return hex(digest);
    }

    /** Of bytes. */
    static String ofBytes(byte[] bytes) {
        return HexFormat.of().formatHex(sha256().digest(bytes));
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("Every Java has SHA-256", e);
        }
    }

    private static String hex(MessageDigest digest) {
        return HexFormat.of().formatHex(digest.digest());
    }
}
