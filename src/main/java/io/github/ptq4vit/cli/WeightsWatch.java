package io.github.ptq4vit.cli;

import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.artifact.Fingerprints;
import io.github.ptq4vit.tensor.WeightFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The files of a model's weights, watched from before they are read until the calibration is complete. They are mapped, not
 * copied, so a change in place reaches the calculation.
 */
final class WeightsWatch {
    private final Map<Path, State> before = new LinkedHashMap<>();

    private record State(long size, FileTime time, Object key) {
    }

    private WeightsWatch(List<Path> files) {
        files.forEach(file -> before.put(file, state(file)));
    }

    /**
     * Starts.
     *
     * @param model what {@code --model} says
     * @throws ArtifactException if a file cannot be looked at
     */
    static WeightsWatch of(Path model) {
        Path file = WeightFiles.resolve(model);
        return new WeightsWatch(Files.exists(file) ? WeightFiles.files(file) : List.of());
    }

    /** SHA-256 of all of them. */
    String hash() {
        return Fingerprints.ofFiles(List.copyOf(before.keySet()));
    }

    /**
     * Compares sizes and times.
     *
     * @throws ArtifactException if a file has changed
     */
    void requireUnchanged() {
        before.forEach((file, state) -> {
            if (!state(file).equals(state)) {
                throw changed(file);
            }
        });
    }

    /**
     * Compares the contents too.
     *
     * @param hash that of the beginning
     * @throws ArtifactException if a file has changed
     */
    void requireUnchanged(String hash) {
        requireUnchanged();
        if (!hash().equals(hash)) {
            throw changed(before.keySet().iterator().next());
        }
    }

    private static ArtifactException changed(Path file) {
        return new ArtifactException(file + ": was changed during the calibration; the result would belong to no weights, so it is"
                + " not finished; calibrate again while nothing writes to that file");
    }

    private static State state(Path file) {
        try {
            BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
            return new State(now.size(), now.lastModifiedTime(), now.fileKey());
        } catch (IOException e) {
            throw new ArtifactException(file + ": cannot be read (" + e.getMessage() + ")", e);
        }
    }
}
