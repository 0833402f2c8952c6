package io.github.ptq4vit.artifact;

import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.WholeFile;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;

/**
 * The steps in which a checkpoint comes to be on disk: each is there as a whole or not at all, so that a kill between any
 * two leaves a valid folder. Tests stop at chosen steps by overriding {@link #step}.
 */
class Disk {
    /** Ending of files that are not complete yet. */
    static final String TEMPORARY = WholeFile.TEMPORARY;

    /** Called before each step. */
    void step(String what) throws IOException {
        // nothing to do outside of tests
    }

    void makeFolder(Path folder) {
        try {
            step("folder " + folder.getFileName());
            if (!Files.isDirectory(folder)) {
                Files.createDirectories(folder);
                WholeFile.sync(folder.toAbsolutePath().getParent());
            }
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
        try {
            step("write " + target.getFileName());
            WholeFile.write(target, text);
        } catch (IOException e) {
            throw notWritten(target, e);
        }
    }

    static byte[] read(Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be read (" + reason(e) + ")", e);
        }
    }

    /** Deletes a file or an empty folder, if it is there. */
    void delete(Path path) {
        try {
            if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
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
