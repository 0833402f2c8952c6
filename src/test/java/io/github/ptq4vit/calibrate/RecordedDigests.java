package io.github.ptq4vit.calibrate;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The digests in the test resources: one file for each path through the program and kind of float32 arithmetic. */
final class RecordedDigests {
    private static final Path FOLDER = Path.of("src", "test", "resources", "digests");
    private static final String HEADING = "# ";

    private final String path;
    private final FloatKind kind;

    RecordedDigests(String path, FloatKind kind) {
        this.path = path;
        this.kind = kind;
    }

    private Path file() {
        return FOLDER.resolve(path + "-" + kind.fingerprint() + ".txt");
    }

    /** Writes those of this path and kind; files of others stay. */
    void write(List<LayerDigest> digests) {
        try {
            Files.createDirectories(FOLDER);
            Files.writeString(file(), Stream.concat(Stream.of(HEADING + kind.words()), digests.stream().map(LayerDigest::toString))
                    .collect(Collectors.joining("\n", "", "\n")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Those of this path and kind, if there are any. */
    Optional<List<LayerDigest>> read() {
        return Files.exists(file()) ? Optional.of(lines(file()).stream().filter(line -> !line.startsWith(HEADING))
                .map(LayerDigest::parse).toList()) : Optional.empty();
    }

    /** Whether digests of this path were recorded on the same processor with the same libraries, of whatever arithmetic. */
    boolean knowsProcessor() {
        try (Stream<Path> files = Files.list(FOLDER)) {
            return files.filter(file -> file.getFileName().toString().matches(path + "-[0-9a-f]{16}\\.txt"))
                    .anyMatch(file -> lines(file).get(0).equals(HEADING + kind.words()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<String> lines(Path file) {
        try {
            return Files.readAllLines(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** For each calibration that differs one sentence: the first layer in network order that does, and in what. */
    static List<String> differences(List<LayerDigest> recorded, List<LayerDigest> found) {
        Map<String, List<LayerDigest>> before = byCalibration(recorded);
        Map<String, List<LayerDigest>> now = byCalibration(found);
        List<String> differences = new ArrayList<>();
        if (!before.keySet().equals(now.keySet())) {
            differences.add("recorded are the calibrations " + before.keySet() + ", done were " + now.keySet());
        }
        now.forEach((calibration, layers) -> Optional.ofNullable(before.get(calibration))
                .flatMap(old -> firstDifference(old, layers)).ifPresent(words -> differences.add(calibration + ": " + words)));
        return differences;
    }

    private static Map<String, List<LayerDigest>> byCalibration(List<LayerDigest> digests) {
        return digests.stream().collect(Collectors.groupingBy(LayerDigest::calibration, LinkedHashMap::new, Collectors.toList()));
    }

    private static Optional<String> firstDifference(List<LayerDigest> before, List<LayerDigest> now) {
        List<String> names = before.stream().map(LayerDigest::layer).toList();
        if (!names.equals(now.stream().map(LayerDigest::layer).toList())) {
            return Optional.of("other layers than " + names);
        }
        for (int i = 0; i < now.size(); i++) {
            String moved = now.get(i).differences(before.get(i));
            if (!moved.isEmpty()) {
                return Optional.of(now.get(i).layer() + " is the first layer that moved: " + moved);
            }
        }
        return Optional.empty();
    }
}
