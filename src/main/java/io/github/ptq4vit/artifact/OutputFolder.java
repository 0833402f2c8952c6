package io.github.ptq4vit.artifact;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A folder in which a checkpoint is written or continued: looked at before anything is computed, and locked from that first
 * look until it is closed, so that no other process writes the same folder.
 */
public final class OutputFolder implements AutoCloseable {
    /** What a kill may leave before the first manifest. */
    private static final Set<String> LEFT_BY_A_KILL = Set.of(OutputLock.NAME, ManifestJson.FILE + Disk.TEMPORARY);

    /** What was found. */
    public enum State {
        /** Nothing to keep: a new checkpoint is started. */
        FRESH,
        /** An interrupted calibration that can be continued. */
        INTERRUPTED,
        /** A complete checkpoint; there is nothing to do. */
        COMPLETE
    }

    private final Path path;
    private final OutputLock lock;
    private final State state;

    private OutputFolder(Path path, OutputLock lock, State state) {
        this.path = path;
        this.lock = lock;
        this.state = state;
    }

    /**
     * Looks at a folder and locks it; a folder that must not be written to is left as it is.
     *
     * @throws ArtifactException if it must not be written to, or another process writes to it
     */
    public static OutputFolder open(Path folder, Existing existing) {
        if (Files.exists(folder, LinkOption.NOFOLLOW_LINKS) && !Files.exists(folder.resolve(OutputLock.NAME), LinkOption.NOFOLLOW_LINKS)) {
            look(folder, existing, false);
        }
        OutputLock lock = OutputLock.inFolder(folder);
        try {
            State state = look(folder, existing, lock.madeFolder());
            if (state == State.COMPLETE) {
                // a kill in the very last step may have left parts beside a complete checkpoint
                new Parts(folder).tidy(ManifestJson.read(folder), new Disk());
            }
            return new OutputFolder(folder, lock, state);
        } catch (RuntimeException | Error e) {
            lock.close();
            throw e;
        }
    }

    private static State look(Path folder, Existing existing, boolean made) {
        if (!Files.isDirectory(folder)) {
            throw new ArtifactException(folder + ": is there already and is not a folder; choose another place");
        }
        boolean ours = ManifestJson.isOurs(folder);
        List<String> entries = ours ? List.of() : entries(folder);
        if (!ours && LEFT_BY_A_KILL.containsAll(entries) && (made || !entries.isEmpty() || existing != Existing.REFUSE)) {
            return State.FRESH;
        }
        if (existing == Existing.REFUSE) {
            throw new ArtifactException(folder + ": is there already" + (ours
                    ? "; continue it with --resume, replace it with --force, or choose another place"
                    : "; choose another place"));
        }
        if (!ours) {
            throw new ArtifactException(folder + ": holds something other than a quantised model and is left alone; "
                    + "choose another place");
        }
        if (existing == Existing.REPLACE) {
            return State.FRESH;
        }
        return ManifestJson.read(folder).complete() ? State.COMPLETE : State.INTERRUPTED;
    }

    private static List<String> entries(Path folder) {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.map(entry -> entry.getFileName().toString()).toList();
        } catch (IOException e) {
            throw new ArtifactException(folder + ": cannot be listed (" + Disk.reason(e) + ")", e);
        }
    }

    /** The folder. */
    public Path path() {
        return path;
    }

    /** What was found in it. */
    public State state() {
        return state;
    }

    OutputLock lock() {
        return lock;
    }

    /** Unlocks it; if it did not exist before and is empty, it goes. Calling it again does nothing. */
    @Override
    public void close() {
        lock.close();
    }
}
