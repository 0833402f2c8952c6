package io.github.ptq4vit.artifact;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.stream.Stream;

/** What is found where a checkpoint is to be written. To be asked before anything is computed. */
public enum OutputFolder {
    /** Nothing to keep: a new checkpoint is started. */
    FRESH,
    /** An interrupted calibration that can be continued. */
    INTERRUPTED,
    /** A complete checkpoint; there is nothing to do. */
    COMPLETE;

    /**
     * Looks at a folder and changes nothing.
     *
     * @throws ArtifactException if it must not be written to
     */
    public static OutputFolder inspect(Path folder, Existing existing) {
        if (!Files.exists(folder, LinkOption.NOFOLLOW_LINKS)) {
            return FRESH;
        }
        if (!Files.isDirectory(folder)) {
            throw new ArtifactException(folder + ": is there already and is not a folder; choose another place");
        }
        boolean ours = ManifestJson.isOurs(folder);
        if (existing == Existing.REFUSE) {
            throw new ArtifactException(folder + ": is there already" + (ours
                    ? "; continue it with --resume, replace it with --force, or choose another place"
                    : "; choose another place"));
        }
        if (!ours) {
            if (isEmpty(folder)) {
                return FRESH;
            }
            throw new ArtifactException(folder + ": holds something other than a quantised model and is left alone; "
                    + "choose another place");
        }
        if (existing == Existing.REPLACE) {
            return FRESH;
        }
        return ManifestJson.read(folder).complete() ? COMPLETE : INTERRUPTED;
    }

    /** Empty but for what a kill may leave before the first manifest. */
    private static boolean isEmpty(Path folder) {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.allMatch(e -> e.getFileName().toString().equals(ManifestJson.FILE + Disk.TEMPORARY));
        } catch (IOException e) {
            throw new ArtifactException(folder + ": cannot be listed (" + Disk.reason(e) + ")", e);
        }
    }
}
