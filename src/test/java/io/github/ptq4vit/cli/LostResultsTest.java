package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.artifact.OutputLock;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.quant.BitWidths;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.OptionalInt;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Nothing is lost, and nothing wrong is finished, without a word. */
class LostResultsTest extends TinyInput {

    LostResultsTest() {
        super(6);
    }

    @Test
    void aResultThatCannotBePrintedIsAFailure() {
        CommandLineRun.of("models", "--json").succeeded();
        PrintStream real = System.out;
        PrintStream full = new PrintStream(new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                throw new IOException("No space left on device");
            }
        });
        try {
            System.setOut(full);
            assertEquals(1, Main.run("models", "--json"));
            assertEquals(1, Main.run("--help"));
            assertEquals(2, Main.run("models", "--no-such-option"));
        } finally {
            System.setOut(real);
        }
    }

    @Test
    void weightsThatChangeDuringACalibrationAreNotFinished() throws IOException {
        changed(file -> write(file, true), false);
        changed(file -> write(file, false), false);
        changed(file -> {
            // nobody's file, but of the same size and time
            try {
                FileTime time = Files.getLastModifiedTime(file);
                write(file, false);
                Files.setLastModifiedTime(file, time);
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }, false);
        changed(file -> {
        }, true);
    }

    private void changed(Consumer<Path> change, boolean finished) throws IOException {
        Path file = Files.copy(model, folder.resolve("changing.safetensors"));
        WeightsWatch weights = WeightsWatch.of(file);
        ModelSource.Plain source = ModelSource.plain(file, ReadOptions.NONE);
        CalibrationJob job = CalibrationJob.prepare(source, weights, source.transform(), images, 3, 0, 1);
        // the hash is that of the beginning
        job.fingerprint();
        change.accept(file);
        try (Backend backend = Backends.open("cpu", OptionalInt.of(1)); OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            Recipe recipe = Recipe.preset("base", new BitWidths(8, 8));
            if (finished) {
                job.run(backend, recipe, target);
            } else {
                String message = assertThrows(ArtifactException.class, () -> job.run(backend, recipe, target)).getMessage();
                assertTrue(message.contains(file + ": was changed during the calibration"), message);
            }
        }
        assertEquals(finished, Files.exists(out));
        Files.delete(file);
    }

    private static void write(Path file, boolean longer) {
        try (RandomAccessFile weights = new RandomAccessFile(file.toFile(), "rw")) {
            weights.seek(weights.length() - (longer ? 0 : 4));
            weights.writeInt(0x3d000000);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @Test
    void countsThatCannotBeAreRefused() throws IOException {
        compare().succeeded();
        Path counts = out.resolve("comparison.json");
        String good = Files.readString(counts);
        refused(counts, good, "done", root -> root.put("done", 7));
        refused(counts, good, "done", root -> root.put("done", -1));
        refused(counts, good, "done", root -> root.put("done", 5.5));
        refused(counts, good, "done", root -> root.put("done", (1L << 32) + 6));
        refused(counts, good, "skipped", root -> root.put("skipped", 7));
        refused(counts, good, "images", root -> root.put("skipped", 1));
        refused(counts, good, "images", root -> ((ObjectNode) root.required("tallies").get(0)).put("images", 5));
        refused(counts, good, "top1", root -> ((ObjectNode) root.required("tallies").get(1)).put("top1", 7));
        refused(counts, good, "top5", root -> ((ObjectNode) root.required("tallies").get(1)).put("top5", 7));
        refused(counts, good, "agreeing", root -> ((ObjectNode) root.required("tallies").get(1)).put("agreeing", "6"));
        refused(counts, good, "tallies", root -> root.remove("tallies"));
        Files.writeString(counts, "[");
        CommandLineRun run = compare();
        assertTrue(run.code() == 1 && run.err().contains(counts + ": is damaged, it is not JSON"), run.err());
    }

    private void refused(Path counts, String good, String field, Consumer<ObjectNode> edit) throws IOException {
        ObjectNode root = (ObjectNode) new JsonMapper().readTree(good);
        edit.accept(root);
        Files.writeString(counts, root.toString());
        CommandLineRun run = compare();
        assertTrue(run.code() == 1 && run.err().contains("ptq4vit: " + counts + ": is damaged: field " + field + ": expected is "), run.err());
    }

    private CommandLineRun compare() {
        return CommandLineRun.of("compare", "--model", model, "--images", images, "--count", 3, "--eval", images, "--labels", labels,
                "--bits", "8", "--presets", "base", "--out", out);
    }

    @Test
    void aComparisonClearsWhatAKillInItsLastDeletionsLeft() throws IOException {
        compare().succeeded();
        Path left = Files.createDirectories(out.resolve("base-w8a8/parts"));
        Files.writeString(left.resolve("head.safetensors"), "left");
        compare().succeeded();
        assertFalse(Files.exists(left));
    }

    @Test
    void anExportTakesOverWhatAKilledOneLeft() throws IOException {
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--count", 3, "--out", out).succeeded();
        Path timm = folder.resolve("timm");
        Path left = Files.createDirectories(folder.resolve("timm.tmp"));
        Files.writeString(left.resolve("model.safetensors.tmp"), "half");
        Files.writeString(folder.resolve("timm.ptq4vit-lock"), "process 1");
        CommandLineRun.of("export", "--model", out, "--format", "timm", "--out", timm).succeeded();
        assertTrue(Files.isRegularFile(timm.resolve("scales.json")) && Files.isRegularFile(timm.resolve("model.safetensors")));
        assertFalse(Files.exists(left) || Files.exists(folder.resolve("timm.ptq4vit-lock")));
        Files.createDirectories(left);
        Files.writeString(left.resolve("model.safetensors"), "mine");
        Files.writeString(left.resolve("notes.txt"), "mine");
        CommandLineRun.of("export", "--model", out, "--format", "timm", "--out", folder.resolve("timm")).failed(1, "is there already");
        Files.move(timm, folder.resolve("moved"));
        CommandLineRun.of("export", "--model", out, "--format", "timm", "--out", timm).failed(1, left, "other things");
        assertEquals("mine", Files.readString(left.resolve("model.safetensors")));
    }

    @Test
    void commandsLeaveAnOutputAloneThatAnotherWrites() {
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--count", 3, "--out", out).succeeded();
        Path onnx = folder.resolve("model.onnx");
        try (OutputLock lock = OutputLock.beside(onnx)) {
            CommandLineRun.of("export", "--model", out, "--out", onnx).failed(1, onnx, "is being written");
        }
        try (OutputLock lock = OutputLock.inFolder(out)) {
            CommandLineRun.of("calibrate", "--model", model, "--images", images, "--force", "--out", out).failed(1, out, "is being written");
            compare().failed(1, out, "is being written");
        }
        assertEquals(14, Checkpoint.read(out).model().layers().size());
        CommandLineRun.of("export", "--model", out, "--out", onnx).succeeded();
    }
}
