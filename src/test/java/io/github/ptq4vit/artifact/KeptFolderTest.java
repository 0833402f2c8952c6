package io.github.ptq4vit.artifact;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.golden.GoldenFolder;
import io.github.ptq4vit.golden.GoldenVit;
import io.github.ptq4vit.model.VisionTransformer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A folder that the program wrote at format version 2, before there were recipes: the golden ViT with {@code ptq4vit}, W4A4. It is
 * read, and written again byte by byte.
 */
class KeptFolderTest {
    private static final Path RESOURCES = Path.of("src", "test", "resources");
    private static final Path KEPT = RESOURCES.resolve("artifact").resolve("vit_tiny-ptq4vit-w4a4");

    @Test
    void itIsReadAndWrittenAgainByteByByte(@TempDir Path folder) throws IOException {
        VisionTransformer model;
        try (GoldenFolder golden = GoldenFolder.open(RESOURCES.resolve("golden").resolve("vit_tiny"))) {
            model = GoldenVit.model(golden);
        }
        Checkpoint kept = Checkpoint.read(KEPT);
        assertTrue(Checkpoint.records(KEPT).isEmpty());
        Path again = folder.resolve("again");
        try (OutputFolder out = OutputFolder.open(again, Existing.REFUSE)) {
            CheckpointWriter writer = CheckpointWriter.open(out, model, kept.transform(), kept.provenance());
            TinyModel.units(kept.model().layers()).forEach(writer::unit);
            writer.finish();
        }
        assertEquals(Files.readString(KEPT.resolve("manifest.json")), Files.readString(again.resolve("manifest.json")));
        assertEquals(-1, Files.mismatch(KEPT.resolve("model.safetensors"), again.resolve("model.safetensors")));
        assertEquals(CheckpointWriterTest.contents(KEPT).keySet(), CheckpointWriterTest.contents(again).keySet());
    }
}
