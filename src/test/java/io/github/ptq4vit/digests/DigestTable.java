package io.github.ptq4vit.digests;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Digests by calibration, then by row (a layer, in network order, or a file), then by part. As text each row is a line,
 * {@code CALIBRATION ROW PART=DIGEST ...}, so that a difference of two versions names what moved.
 */
final class DigestTable {
    private final Map<String, Map<String, Map<String, String>>> calibrations = new LinkedHashMap<>();

    /** Adds a row after the others of its calibration. */
    void add(String calibration, String row, Map<String, String> parts) {
        Map<String, Map<String, String>> rows = calibrations.computeIfAbsent(calibration, name -> new LinkedHashMap<>());
        if (rows.put(row, new LinkedHashMap<>(parts)) != null) {
            throw new IllegalArgumentException(calibration + " has two rows " + row);
        }
    }

    /** Parts of a row; none if there is no such row. */
    Map<String, String> parts(String calibration, String row) {
        return calibrations.getOrDefault(calibration, Map.of()).getOrDefault(row, Map.of());
    }

    int size() {
        return calibrations.size();
    }

    /** The same without some of the parts. */
    DigestTable only(Predicate<String> part) {
        DigestTable table = new DigestTable();
        calibrations.forEach((calibration, rows) -> rows.forEach((row, parts) -> {
            Map<String, String> kept = new LinkedHashMap<>(parts);
            kept.keySet().removeIf(part.negate());
            table.add(calibration, row, kept);
        }));
        return table;
    }

    /** For each calibration that differs a sentence that names the first row that moved, and its parts that did. */
    List<String> moved(DigestTable now) {
        List<String> sentences = new ArrayList<>();
        Map<String, Map<String, Map<String, String>>> all = new LinkedHashMap<>(calibrations);
        now.calibrations.forEach(all::putIfAbsent);
        all.keySet().forEach(calibration -> {
            Map<String, Map<String, String>> rows = new LinkedHashMap<>(calibrations.getOrDefault(calibration, Map.of()));
            now.calibrations.getOrDefault(calibration, Map.of()).forEach(rows::putIfAbsent);
            List<String> moved = rows.keySet().stream().filter(row -> !movedParts(now, calibration, row).isEmpty()).toList();
            if (!moved.isEmpty()) {
                String first = moved.get(0);
                sentences.add(calibration + ": " + first + " moved first, its " + String.join(" and ", movedParts(now, calibration, first))
                        + (moved.size() == 1 ? "" : "; after it " + String.join(", ", moved.subList(1, moved.size()))));
            }
        });
        return sentences;
    }

    private List<String> movedParts(DigestTable now, String calibration, String row) {
        Map<String, String> before = parts(calibration, row);
        Map<String, String> after = now.parts(calibration, row);
        Map<String, String> all = new LinkedHashMap<>(before);
        after.forEach(all::putIfAbsent);
        return all.keySet().stream().filter(part -> !before.getOrDefault(part, "").equals(after.getOrDefault(part, ""))).toList();
    }

    void write(Path file) throws IOException {
        StringBuilder text = new StringBuilder();
        calibrations.forEach((calibration, rows) -> rows.forEach((row, parts) -> {
            text.append(calibration).append(' ').append(row);
            parts.forEach((part, digest) -> text.append(' ').append(part).append('=').append(digest));
            text.append('\n');
        }));
        Files.writeString(file, text);
    }

    static DigestTable read(Path file) throws IOException {
        DigestTable table = new DigestTable();
        for (String line : Files.readAllLines(file)) {
            String[] words = line.split(" ");
            Map<String, String> parts = new LinkedHashMap<>();
            for (int i = 2; i < words.length; i++) {
                String[] part = words[i].split("=", 2);
                parts.put(part[0], part[1]);
            }
            table.add(words[0], words[1], parts);
        }
        return table;
    }
}
