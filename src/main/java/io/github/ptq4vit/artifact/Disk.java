package io.github.ptq4vit.artifact;

import io.github.ptq4vit.tensor.SafetensorsWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * The steps in which a checkpoint comes to be on disk: each is there as a whole or not at all, so that a kill between any
 * two leaves a valid folder. Tests stop at chosen steps by overriding {@link #step}.
 */
class Disk {
    /** Ending of files that are not complete yet. */
    static final String TEMPORARY = ".tmp";

    /** Called before each step. */
    void step(String what) throws IOException {
        // nothing to do outside of tests
    }

    void makeFolder(Path folder) {
        try {
            step("folder " + folder.getFileName());
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new ArtifactException(folder + ": the folder cannot be made (" + reason(e) + "); choose another place", e);
        }
    }

    void write(Path target, SafetensorsWriter tensors) {
        try {
            step("write " + target.getFileName());
        } catch (IOException e) {
            throw notWritten(target, e);
        }
        tensors.write(target);
    }

    void write(Path target, byte[] text) {
        Path temporary = target.resolveSibling(target.getFileName() + TEMPORARY);
        try {
            step("write " + target.getFileName());
            try {
                try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.CREATE,
                        StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)) {
                    for (ByteBuffer bytes = ByteBuffer.wrap(text); bytes.hasRemaining();) {
                        channel.write(bytes);
                    }
                    channel.force(true);
                }
                Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } catch (IOException e) {
                Files.deleteIfExists(temporary);
                throw e;
            }
        } catch (IOException e) {
            throw notWritten(target, e);
        }
    }

    /** Deletes a file or an empty folder, if it is there. */
    void delete(Path path) {
        try {
            if (Files.exists(path)) {
                step("delete " + path.getFileName());
                Files.deleteIfExists(path);
            }
        } catch (IOException e) {
            throw new ArtifactException(path + ": cannot be deleted (" + reason(e) + ")", e);
        }
    }

    private static ArtifactException notWritten(Path target, IOException e) {
        return new ArtifactException(target + ": cannot be written (" + reason(e) + "); make room or check the rights of "
                + target.getParent(), e);
    }

    /** The reason in an exception that often carries nothing but a path. */
    static String reason(IOException e) {
        String kind = e.getClass().getSimpleName();
        if (e instanceof FileSystemException file) {
            return file.getReason() == null ? kind : file.getReason();
        }
        return e.getMessage() == null ? kind : e.getMessage();
    }
}
