package io.github.ptq4vit.tensor;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * Files that are there as a whole or not at all: written beside their place, brought to disk, renamed, and the renaming
 * brought to disk. Whatever interrupts that, a power cut included, leaves the old file or the new one.
 */
public final class WholeFile {
    /** Ending of files that are not complete yet. */
    public static final String TEMPORARY = ".tmp";

    private WholeFile() {
    }

    /** Writes the content, from the start of an empty file. */
    @FunctionalInterface
    public interface Content {
        /** Writes to the channel and leaves it open. */
        void to(FileChannel channel) throws IOException;
    }

    /** Writes a file, or replaces one. A link at its place or at the place of the temporary file is replaced, not followed. */
    public static void write(Path target, Content content) throws IOException {
        Path temporary = target.resolveSibling(target.getFileName() + TEMPORARY);
        try {
            Files.deleteIfExists(temporary);
            try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                content.to(channel);
                channel.force(true);
            }
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException | RuntimeException | Error e) {
            try {
                Files.deleteIfExists(temporary);
            } catch (IOException left) {
                e.addSuppressed(left);
            }
            throw e;
        }
        sync(target.toAbsolutePath().getParent());
    }

    /** The same with bytes. */
    public static void write(Path target, byte[] bytes) throws IOException {
        write(target, channel -> {
            for (ByteBuffer rest = ByteBuffer.wrap(bytes); rest.hasRemaining();) {
                channel.write(rest);
            }
        });
    }

    /** Brings what was made, renamed or deleted in a folder to disk. */
    public static void sync(Path folder) throws IOException {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }
}
