package io.github.ptq4vit.artifact;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.OtherProcess;
import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.model.VisionTransformer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** One output, one process. */
class OutputLockTest {
    @TempDir
    Path folder;

    /** Holds the lock of a folder until it is killed. */
    static final class Holder {
        private Holder() {
        }

        public static void main(String[] arguments) throws Exception {
            try (OutputFolder out = OutputFolder.open(Path.of(arguments[0]), Existing.RESUME)) {
                System.out.println("locked");
                Thread.sleep(Long.MAX_VALUE);
            }
        }
    }

    @Test
    void aSecondProcessIsToldWhoHasTheFolderAndMayTakeItOnceTheFirstIsDead() throws Exception {
        Path out = folder.resolve("out");
        Process holder = OtherProcess.of(Holder.class, out).start();
        try {
            OtherProcess.await(holder, "locked");
            for (Existing existing : Existing.values()) {
                String message = assertThrows(ArtifactException.class, () -> OutputFolder.open(out, existing)).getMessage();
                assertTrue(message.contains(out + ": is being written by another process (process " + holder.pid()), message);
                assertEquals(1, message.lines().count());
            }
        } finally {
            holder.destroyForcibly().waitFor();
        }
        assertTrue(Files.exists(out.resolve(OutputLock.NAME)), "a killed process leaves its file");
        try (OutputFolder taken = OutputFolder.open(out, Existing.REFUSE)) {
            assertEquals(OutputFolder.State.FRESH, taken.state());
        }
        assertFalse(Files.exists(out.resolve(OutputLock.NAME)));
    }

    @Test
    void theSameProcessCannotLockTwiceNorLoseItsLockByTrying() throws Exception {
        Path out = folder.resolve("out");
        try (OutputFolder first = OutputFolder.open(out, Existing.RESUME)) {
            for (int i = 0; i < 2; i++) {
                assertTrue(assertThrows(ArtifactException.class, () -> OutputFolder.open(out, Existing.RESUME)).getMessage()
                        .contains("by this process already"));
            }
            OtherProcess.Ended other = OtherProcess.run(folder, java.util.Map.of(), Holder.class, out);
            assertTrue(other.code() != 0 && other.err().contains("is being written by another process"), other.err());
            first.lock().requireHeld();
        }
        OutputFolder.open(out, Existing.RESUME).close();
        assertFalse(Files.exists(out), "made for nothing");
    }

    @Test
    void whatIsRefusedIsNotTouched() throws IOException {
        Path out = Files.createDirectories(folder.resolve("thesis"));
        Files.writeString(out.resolve("thesis.tex"), "years of work");
        for (Existing existing : Existing.values()) {
            assertThrows(ArtifactException.class, () -> OutputFolder.open(out, existing));
        }
        try (var entries = Files.list(out)) {
            assertEquals(List.of(out.resolve("thesis.tex")), entries.toList());
        }
    }

    @Test
    void aFolderThatIsRemovedMeanwhileIsNotFinished() throws IOException {
        VisionTransformer model = TinyModel.model(folder);
        Path out = folder.resolve("out");
        try (OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            CheckpointWriter writer = CheckpointWriter.open(target, model, "", CheckpointWriterTest.provenance("w", 7));
            Files.move(out, folder.resolve("elsewhere"));
            try (OutputFolder other = OutputFolder.open(folder.resolve("another"), Existing.REFUSE)) {
                CheckpointWriter.open(other, model, "", CheckpointWriterTest.provenance("v", 8));
                Files.move(folder.resolve("another"), out);
                String message = assertThrows(ArtifactException.class, () -> writer.unit("head",
                        TinyModel.units(TinyModel.quantize(model, 8)).get("head"))).getMessage();
                assertTrue(message.contains("removed or replaced"), message);
            }
        }
        assertEquals(OutputFolder.State.INTERRUPTED, state(out), "the other's manifest is still there");
    }

    private static OutputFolder.State state(Path out) {
        try (OutputFolder folder = OutputFolder.open(out, Existing.RESUME)) {
            return folder.state();
        }
    }

    @Test
    void aLinkAtTheLocksPlaceIsNotFollowed() throws IOException {
        Path outside = Files.writeString(folder.resolve("outside"), "mine");
        Files.createSymbolicLink(folder.resolve("model.onnx" + OutputLock.NAME), outside);
        assertThrows(ArtifactException.class, () -> OutputLock.beside(folder.resolve("model.onnx")));
        assertEquals("mine", Files.readString(outside));
    }
}
