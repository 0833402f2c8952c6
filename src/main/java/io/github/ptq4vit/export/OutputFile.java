package io.github.ptq4vit.export;

import io.github.ptq4vit.tensor.WholeFile;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.file.FileSystemException;
import java.nio.file.Path;

/** A new file that is there as a whole or not at all. */
final class OutputFile {
    private OutputFile() {
    }

    /** Writes the content. */
    @FunctionalInterface
    interface Content {
        void to(OutputStream out) throws IOException;
    }

    static void write(Path file, Content content) {
        try {
            WholeFile.write(file, channel -> {
                OutputStream out = new BufferedOutputStream(Channels.newOutputStream(channel));
                content.to(out);
                out.flush();
            });
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
