package io.github.ptq4vit.artifact;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** The folder with the parts of a checkpoint that is not complete: tensors and record of each finished unit. */
record Parts(Path checkpoint) {

    /** Where they are. */
    Path folder() {
        return checkpoint.resolve("parts");
    }

    /** The tensors of a unit, or the transformed network. */
    Path tensors(String name) {
        return folder().resolve(name + ".safetensors");
    }

    /** How the quantisers of a unit were chosen; units that older versions finished have none. */
    Path record(String unit) {
        return folder().resolve(unit + ".record.json");
    }

    /** Removes what the manifest does not speak of: parts, temporary files, the tensors and the record of a replaced checkpoint. */
    void tidy(Manifest manifest, Disk disk) {
        boolean parts = Files.isDirectory(folder(), LinkOption.NOFOLLOW_LINKS);
        List<Path> stale = new ArrayList<>();
        for (String file : List.of(ManifestJson.FILE, Checkpoint.TENSORS, RecordJson.FILE)) {
            stale.add(checkpoint.resolve(file + Disk.TEMPORARY));
            if (!manifest.complete() && !file.equals(ManifestJson.FILE)) {
                stale.add(checkpoint.resolve(file));
            }
        }
        if (parts) {
            for (String name : manifest.partNames()) {
                for (Path part : List.of(tensors(name), record(name))) {
                    stale.add(part.resolveSibling(part.getFileName() + Disk.TEMPORARY));
                    if (!manifest.digests().containsKey(name)) {
                        stale.add(part);
                    }
                }
            }
        }
        stale.forEach(disk::delete);
        if (manifest.complete() && parts && isEmpty(folder())) {
            disk.delete(folder());
        }
    }

    private static boolean isEmpty(Path folder) {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.findAny().isEmpty();
        } catch (IOException e) {
            throw new ArtifactException(folder + ": cannot be listed (" + Disk.reason(e) + ")", e);
        }
    }
}
