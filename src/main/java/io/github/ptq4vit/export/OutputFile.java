package io.github.ptq4vit.export;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** A new file that is there as a whole or not at all. */
final class OutputFile {
    private static final String TEMPORARY = ".tmp";

    private OutputFile() {
    }

    /** Writes the content. */
    @FunctionalInterface
    interface Content {
        void to(OutputStream out) throws IOException;
    }

    static void write(Path file, Content content) {
        Path temporary = file.resolveSibling(file.getFileName() + TEMPORARY);
        try {
            try {
                try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(temporary))) {
                    content.to(out);
                }
                Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } finally {
                Files.deleteIfExists(temporary);
            }
        } catch (IOException e) {
            throw notWritten(file, e);
        }
    }

    /** What to say of a file or folder that could not be written. */
    static ExportException notWritten(Path path, IOException e) {
        String reason = e instanceof FileSystemException f && f.getReason() != null ? f.getReason() : e.getClass().getSimpleName();
        return new ExportException(path + ": cannot be written (" + reason + "); choose another place or make room", e);
    }
}
