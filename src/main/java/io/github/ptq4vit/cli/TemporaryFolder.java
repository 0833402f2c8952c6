package io.github.ptq4vit.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** A folder that is gone afterwards, also when the program is stopped. */
final class TemporaryFolder implements AutoCloseable {
    private final Path path;
    private final Thread atExit;

    private TemporaryFolder(Path path) {
        this.path = path;
        this.atExit = new Thread(this::delete, "temporary-folder");
        Runtime.getRuntime().addShutdownHook(atExit);
    }

    static TemporaryFolder make() {
        try {
            return new TemporaryFolder(Files.createTempDirectory("ptq4vit-"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    Path path() {
        return path;
    }

    @Override
    public void close() {
        delete();
        try {
            Runtime.getRuntime().removeShutdownHook(atExit);
        } catch (IllegalStateException e) {
            // the program is being stopped, the hook runs anyway
            return;
        }
    }

    private void delete() {
        try (Stream<Path> all = Files.walk(path)) {
            all.sorted(Comparator.reverseOrder()).forEach(entry -> entry.toFile().delete());
        } catch (IOException | UncheckedIOException e) {
            // gone already, or the system's own cleaning will see to it
            return;
        }
    }
}
