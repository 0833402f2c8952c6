package io.github.ptq4vit.artifact;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Shape;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointTest {
    @TempDir
    Path folder;
    private VisionTransformer model;
    private Path out;

    @BeforeEach
    void makeModel() {
        model = TinyModel.model(folder);
        out = folder.resolve("out");
    }

    @Test
    void whatIsWrittenIsReadBackExactly() {
        List<QuantizedLayer> layers = TinyModel.quantize(model, 6);
        write(out, layers);
        Checkpoint read = Checkpoint.read(out);
        assertEquals(layers, read.model().layers());
        assertEquals(model.config(), read.model().model().config());
        assertEquals("resize=40,crop=32", read.transform());
        assertEquals(CheckpointWriterTest.provenance("w", 7).imageIds(), read.provenance().imageIds());
        assertEquals(7, read.provenance().seed());
        assertArrayEquals(model.tensor("pos_embed").toArray(), read.model().model().tensor("pos_embed").toArray());
        assertArrayEquals(model.tensor("blocks.1.norm2.weight").toArray(),
                read.model().model().tensor("blocks.1.norm2.weight").toArray());
        assertFalse(read.model().model().tensors().containsKey("head.weight"), "float weights are not kept");
    }

    @Test
    void theTensorsFileIsUsableWithoutTheManifest() {
        write(out, TinyModel.quantize(model, 8));
        try (SafetensorsFile file = SafetensorsFile.open(out.resolve("model.safetensors"))) {
            assertEquals(Shape.of(32, 3, 8, 8), file.info("patch_embed.proj.weight").shape());
            assertEquals(Shape.of(32), file.info("patch_embed.proj.weight_scale").shape());
            assertEquals(Shape.of(96, 32), file.info("blocks.0.attn.qkv.weight").shape());
            assertEquals(Shape.of(3), file.info("blocks.0.attn.qkv.weight_scale").shape());
            assertEquals(Shape.of(2), file.info("blocks.0.attn.matmul1.left_scale").shape());
            assertEquals(Shape.of(1, 2), file.info("blocks.0.attn.matmul2.left_scale").shape());
            assertEquals(Shape.of(1, 2), file.info("blocks.1.mlp.fc2.input_scale").shape());
            assertFalse(file.contains("patch_embed.proj.input_scale"), "the pixels are not quantised");
        }
    }

    @Test
    void everyFloatSurvivesTheManifest() throws Exception {
        Random random = new Random(3);
        List<Quantizer> scales = new ArrayList<>(List.of(new Quantizer.Uniform(Float.MIN_VALUE, 8),
                new Quantizer.Uniform(Float.MAX_VALUE, 8), new Quantizer.Uniform(0.1f, 8),
                new Quantizer.Uniform(2.0E-45f * 3, 8)));
        while (scales.size() < 20_000) {
            float scale = Float.intBitsToFloat(random.nextInt());
            if (scale > 0 && Float.isFinite(scale)) {
                scales.add(new Quantizer.Uniform(scale, 8));
            }
        }
        JsonMapper json = JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS).build();
        JsonNode written = json.readTree(json.createObjectNode().set("weight", QuantizerJson.write(scales)).toString());
        assertEquals(scales, QuantizerJson.read(Fields.of(out, written), "weight", Set.of("uniform")));
    }

    @Test
    void unitsInAnyOrderGiveTheSameBytes() throws Exception {
        List<QuantizedLayer> layers = TinyModel.quantize(model, 4);
        write(out, layers);
        Path other = folder.resolve("other");
        try (OutputFolder target = OutputFolder.open(other, Existing.REFUSE)) {
            CheckpointWriter writer = CheckpointWriter.open(target, model, "resize=40,crop=32", CheckpointWriterTest.provenance("w", 7));
            List<Map.Entry<String, List<QuantizedLayer>>> units = new ArrayList<>(TinyModel.units(layers).entrySet());
            java.util.Collections.reverse(units);
            units.forEach(unit -> {
                List<QuantizedLayer> members = new ArrayList<>(unit.getValue());
                java.util.Collections.reverse(members);
                writer.unit(unit.getKey(), members);
            });
            writer.finish();
        }
        assertEquals(CheckpointWriterTest.contents(out), CheckpointWriterTest.contents(other));
    }

    @Test
    void anIncompleteFolderSaysHowFarItIsAndHowToGoOn() {
        Map<String, List<QuantizedLayer>> units = TinyModel.units(TinyModel.quantize(model, 8));
        try (OutputFolder target = OutputFolder.open(out, Existing.REFUSE)) {
            CheckpointWriter.open(target, model, "", CheckpointWriterTest.provenance("w", 7)).unit("blocks.1", units.get("blocks.1"));
        }
        String message = assertThrows(ArtifactException.class, () -> Checkpoint.read(out)).getMessage();
        assertTrue(message.contains(out.toString()) && message.contains("1 of 4 units") && message.contains("--resume"), message);
    }

    @Test
    void aDamagedManifestIsNamed() throws Exception {
        write(out, TinyModel.quantize(model, 8));
        Path manifest = out.resolve("manifest.json");
        String text = Files.readString(manifest);
        Map<String, String> damages = new LinkedHashMap<>();
        damages.put("\"kind\" : \"gelu_twin\"", "\"kind\" : \"tanh_twin\"");
        damages.put("\"depth\" : 2", "\"depth\" : 1");
        damages.put("\"format_version\" : 2", "\"format_version\" : 9");
        damages.put("\"transform\"", "\"transfrom\"");
        damages.forEach((good, bad) -> {
            try {
                assertTrue(text.contains(good), good);
                Files.writeString(manifest, text.replaceFirst(java.util.regex.Pattern.quote(good), bad));
            } catch (java.io.IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
            String message = assertThrows(ArtifactException.class, () -> Checkpoint.read(out)).getMessage();
            assertTrue(message.contains("manifest.json") && message.lines().count() == 1, message);
        });
    }

    private void write(Path target, List<QuantizedLayer> layers) {
        try (OutputFolder folder = OutputFolder.open(target, Existing.REFUSE)) {
            CheckpointWriter writer = CheckpointWriter.open(folder, model, "resize=40,crop=32", CheckpointWriterTest.provenance("w", 7));
            TinyModel.units(layers).forEach(writer::unit);
            writer.finish();
        }
    }
}
