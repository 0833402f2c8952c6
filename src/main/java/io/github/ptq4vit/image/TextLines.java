package io.github.ptq4vit.image;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The lines of a text file. */
final class TextLines {
    private TextLines() {
    }

    /**
     * All lines, without a mark of the byte order.
     *
     * @param what the file has, for messages
     * @throws ImageException if the file cannot be read, or is no text in UTF-8
     */
    static List<String> read(Path file, String what) {
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new ImageException("Cannot read " + what + " in " + file + ": it is no regular file");
        }
        try {
            List<String> lines = new ArrayList<>(Files.readAllLines(file));
            if (!lines.isEmpty() && lines.get(0).startsWith("\ufeff")) {
                lines.set(0, lines.get(0).substring(1));
            }
            return lines;
        } catch (NoSuchFileException e) {
            throw new ImageException("There is no file of " + what.replaceFirst("^the ", "") + " " + file, e);
        } catch (IOException e) {
            throw new ImageException("Cannot read " + what + " in " + file + " (text in UTF-8 is expected): " + e, e);
        }
    }
}
