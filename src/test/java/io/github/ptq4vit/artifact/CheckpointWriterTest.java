package io.github.ptq4vit.artifact;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointWriterTest {
    @TempDir
    Path folder;
    private VisionTransformer model;
    private Map<String, List<QuantizedLayer>> units;
    private Path out;

    @BeforeEach
    void makeModel() {
        model = TinyModel.model(folder);
        units = TinyModel.units(TinyModel.quantize(model, 8));
        out = folder.resolve("out");
    }

    @Test
    void aKillBeforeAnyStepLeavesAValidFolderThatEndsWithTheSameBytes() throws IOException {
        Path whole = folder.resolve("whole");
        run(whole, Existing.REFUSE, new Disk());
        int step = 0;
        for (boolean killed = true; killed; step++) {
            Path target = folder.resolve("killed" + step);
            killed = killed(target, Existing.RESUME, new Stopping(step, false));
            valid(target);
            run(target, Existing.RESUME, new Disk());
            assertEquals(contents(whole), contents(target), "killed before step " + step);
        }
        assertTrue(step > 15, "only " + step + " steps were tried");
    }

    @Test
    void aKillWhileReplacingLeavesAValidFolder() throws IOException {
        Path whole = folder.resolve("whole");
        run(whole, Existing.REFUSE, new Disk());
        int step = 0;
        for (boolean killed = true; killed; step++) {
            Path target = folder.resolve("replaced" + step);
            run(target, Existing.REFUSE, new Disk());
            killed = killed(target, Existing.REPLACE, new Stopping(step, false));
            valid(target);
            run(target, Existing.REPLACE, new Disk());
            assertEquals(contents(whole), contents(target), "killed before step " + step);
        }
        assertTrue(step > 15, "only " + step + " steps were tried");
    }

    @Test
    void aFullDiskIsOneSentenceAndLeavesNothingHalfWritten() throws IOException {
        int step = 0;
        for (boolean failed = true; failed; step++) {
            Path target = folder.resolve("full" + step);
            try {
                run(target, Existing.REFUSE, new Stopping(step, true));
                failed = false;
            } catch (ArtifactException e) {
                assertTrue(e.getMessage().contains("No space left on device"), e.getMessage());
                assertEquals(1, e.getMessage().lines().count());
            }
            valid(target);
            if (Files.exists(target)) {
                assertTrue(contents(target).keySet().stream().noneMatch(name -> name.endsWith(".tmp")));
            }
        }
    }

    @Test
    void aFailureBeforeTheFirstUnitLeavesNoFolder() {
        try (OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            CheckpointWriter.open(target, model, "", provenance("w", 7)).abandon();
        }
        assertFalse(Files.exists(out));
        try (OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            CheckpointWriter second = CheckpointWriter.open(target, model, "", provenance("w", 7));
            second.unit("head", units.get("head"));
            second.abandon();
        }
        assertEquals(OutputFolder.State.INTERRUPTED, look(out));
    }

    @Test
    void aFolderThatIsThereIsRefusedWithoutBeingAsked() throws IOException {
        Files.createDirectories(out);
        refused(Existing.REFUSE, "is there already");
        run(folder.resolve("done"), Existing.REFUSE, new Disk());
        out = folder.resolve("done");
        refused(Existing.REFUSE, "--force");
    }

    @Test
    void aForeignFolderIsNeverTouched() throws IOException {
        Files.createDirectories(out);
        Files.writeString(out.resolve("thesis.tex"), "years of work");
        for (String manifest : List.of("", "{\"format\": \"something else\"}", "no JSON")) {
            if (!manifest.isEmpty()) {
                Files.writeString(out.resolve("manifest.json"), manifest);
            }
            Map<String, Integer> before = contents(out);
            for (Existing existing : Existing.values()) {
                refused(existing, existing == Existing.REFUSE ? "is there already" : "left alone");
            }
            assertEquals(before, contents(out));
        }
    }

    @Test
    void aFileInTheWayIsRefused() throws IOException {
        Files.writeString(out, "text");
        for (Existing existing : Existing.values()) {
            refused(existing, "is not a folder");
        }
    }

    @Test
    void replacingKeepsWhatIsNotOurs() throws IOException {
        run(out, Existing.REFUSE, new Disk());
        Files.writeString(out.resolve("notes.txt"), "mine");
        run(out, Existing.REPLACE, new Disk());
        assertEquals("mine", Files.readString(out.resolve("notes.txt")));
        assertEquals(14, Checkpoint.read(out).model().layers().size());
    }

    @Test
    void continuingWithOtherSettingsIsRefusedAndNamesThem() {
        try (OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            CheckpointWriter.open(target, model, "crop=32", provenance("w", 7)).unit("head", units.get("head"));
        }
        Map<String, Provenance> others = Map.of("rounds", changed("rounds", 3), "metric", changed("metric", "l2"),
                "the SHA-256 of the weights", provenance("v", 7), "the seed", provenance("w", 8));
        others.forEach((what, provenance) -> {
            String message = assertThrows(ArtifactException.class, () -> resume("crop=32", provenance)).getMessage();
            assertTrue(message.contains(out.toString()) && message.contains(what), message);
        });
        String message = assertThrows(ArtifactException.class, () -> resume("crop=31", provenance("w", 7))).getMessage();
        assertTrue(message.contains("transform"), message);
        assertEquals(List.of("head"), List.copyOf(resume("crop=32", provenance("w", 7)).keySet()));
    }

    private Map<String, List<QuantizedLayer>> resume(String transform, Provenance provenance) {
        try (OutputFolder target = OutputFolder.open(out, Existing.RESUME)) {
            return CheckpointWriter.open(target, model, transform, provenance).finished();
        }
    }

    private static OutputFolder.State look(Path target) {
        try (OutputFolder folder = OutputFolder.open(target, Existing.RESUME)) {
            return folder.state();
        }
    }

    static Provenance provenance(String weights, long seed) {
        List<String> ids = List.of("a/1.png", "b c.jpg", "\u00fc.png");
        return new Provenance(configuration(), seed, ids, Fingerprints.ofIds(ids), Fingerprints.ofIds(List.of("pixels")),
                Fingerprints.ofIds(List.of(weights)), Map.of("ptq4vit", "1"));
    }

    /** Checksums of all files below a folder by name. */
    static Map<String, Integer> contents(Path root) throws IOException {
        Map<String, Integer> contents = new TreeMap<>();
        try (Stream<Path> files = Files.walk(root)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                contents.put(root.relativize(file).toString(), Arrays.hashCode(Files.readAllBytes(file)));
            }
        }
        return contents;
    }

    private static Map<String, Object> configuration() {
        Map<String, Object> configuration = new java.util.LinkedHashMap<>();
        configuration.put("preset", "ptq4vit");
        configuration.put("metric", "hessian");
        configuration.put("alpha", 0.00001);
        configuration.put("rounds", 2);
        configuration.put("twin", true);
        return configuration;
    }

    private static Provenance changed(String name, Object value) {
        Provenance p = provenance("w", 7);
        Map<String, Object> configuration = configuration();
        configuration.put(name, value);
        return new Provenance(configuration, p.seed(), p.imageIds(), p.idsHash(), p.pixelsHash(), p.weightsHash(), p.versions());
    }

    private void run(Path target, Existing existing, Disk disk) {
        // a kill lets the lock go as closing does
        try (OutputFolder folder = OutputFolder.open(target, existing)) {
            if (folder.state() != OutputFolder.State.COMPLETE) {
                run(folder, disk);
            }
        }
    }

    private void run(OutputFolder target, Disk disk) {
        CheckpointWriter writer = CheckpointWriter.open(target, model, "crop=32", provenance("w", 7), disk);
        try {
            Map<String, List<QuantizedLayer>> known = writer.finished();
            known.forEach((unit, layers) -> assertEquals(units.get(unit), layers));
            assertEquals(known.values().stream().flatMap(List::stream).map(TinyRecords::of).toList(), writer.records());
            units.forEach((unit, layers) -> {
                if (!known.containsKey(unit)) {
                    layers.stream().map(TinyRecords::of).forEach(writer::record);
                    writer.unit(unit, layers);
                }
            });
            writer.finish();
        } catch (ArtifactException e) {
            writer.abandon();
            throw e;
        }
    }

    private boolean killed(Path target, Existing existing, Disk disk) throws IOException {
        try {
            run(target, existing, disk);
            return false;
        } catch (Killed e) {
            // what a kill in the middle of writing leaves
            if (Files.isDirectory(target)) {
                Files.writeString(target.resolve("manifest.json.tmp"), "{");
            }
            if (Files.isDirectory(target.resolve("parts"))) {
                Files.writeString(target.resolve("parts/head.safetensors.tmp"), "half");
                Files.writeString(target.resolve("model.safetensors.tmp"), "half");
            }
            return true;
        }
    }

    /** Not there, empty, incomplete and saying so, or complete. */
    private static void valid(Path target) {
        if (!Checkpoint.isCheckpoint(target)) {
            assertEquals(OutputFolder.State.FRESH, look(target));
            return;
        }
        try {
            List<QuantizedLayer> layers = Checkpoint.read(target).model().layers();
            assertEquals(14, layers.size());
            assertEquals(layers.stream().map(TinyRecords::of).toList(), Checkpoint.records(target));
        } catch (ArtifactException e) {
            assertTrue(e.getMessage().contains("is incomplete"), e.getMessage());
        }
    }

    private void refused(Existing existing, String reason) {
        String message = assertThrows(ArtifactException.class, () -> OutputFolder.open(out, existing)).getMessage();
        assertTrue(message.contains(out.toString()) && message.contains(reason), message);
    }

    private static final class Killed extends Error {
        private static final long serialVersionUID = 1L;
    }

    /** Kills or fails before a step. */
    private static final class Stopping extends Disk {
        private final boolean full;
        private int left;

        Stopping(int left, boolean full) {
            this.left = left;
            this.full = full;
        }

        @Override
        void step(String what) throws IOException {
            if (left-- == 0) {
                if (full) {
                    throw new IOException("No space left on device");
                }
                throw new Killed();
            }
        }
    }
}
