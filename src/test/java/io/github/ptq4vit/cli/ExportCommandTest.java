package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.ptq4vit.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ExportCommandTest {
    @TempDir
    Path folder;
    private Path plain;
    private Path quantized;
    private Path out;

    @BeforeEach
    void calibrate() throws IOException {
        plain = TinyModel.write(folder.resolve("tiny.safetensors"), TinyModel.tensors(1));
        quantized = folder.resolve("tiny-w4a8");
        out = folder.resolve("tiny.onnx");
        CommandLineRun.of("calibrate", "--model", plain, "--images", TinyModel.images(folder.resolve("images"), 4), "--count", 2,
                "--preset", "base", "--w-bits", 4, "--out", quantized).succeeded();
    }

    @Test
    void aQuantisedModelBecomesAFileWithItsTransformAndNarrowWeights() throws IOException {
        CommandLineRun run = CommandLineRun.of("export", "--model", quantized, "--out", out, "--json").succeeded();
        JsonNode json = new ObjectMapper().readTree(run.out());
        assertEquals(21, json.get("opset").intValue());
        assertEquals(Files.size(out), json.get("bytes").longValue());
        ModelProto model = ModelProto.parseFrom(Files.readAllBytes(out));
        assertEquals(21, model.getOpsetImport(0).getVersion());
        assertEquals("pixels", model.getGraph().getInput(0).getName());
        Map<String, String> metadata = model.getMetadataPropsList().stream().collect(Collectors.toMap(StringStringEntryProto::getKey,
                StringStringEntryProto::getValue));
        assertTrue(metadata.get("transform").contains("crop=32"), metadata.toString());
        assertEquals("base W4A8 portable", metadata.get("preset") + " " + metadata.get("bits") + " " + metadata.get("target"));
        assertTrue(metadata.keySet().containsAll(Set.of("version", "classes", "weights_sha256", "calibrated_by")), metadata.toString());
        assertEquals(TensorProto.DataType.INT4_VALUE, typeOf(model, "blocks.0.mlp.fc1.weight"));
    }

    @Test
    void fourBitsAreWholeBytesInAnOlderOpset() throws IOException {
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--opset", 17).succeeded();
        assertEquals(TensorProto.DataType.INT8_VALUE, typeOf(ModelProto.parseFrom(Files.readAllBytes(out)), "blocks.0.mlp.fc1.weight"));
    }

    @Test
    void aTargetMayHaveOperatorsOfItsOwn() throws IOException {
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--target", "onnxruntime").succeeded();
        assertTrue(ModelProto.parseFrom(Files.readAllBytes(out)).getGraph().getNodeList().stream()
                .anyMatch(node -> node.getDomain().equals("com.microsoft")));
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--target", "nobody").failed(2, "nobody",
                "portable, onnxruntime, tensorrt");
    }

    @Test
    void layersThatNeedTwoProductsAreToldToWhoWantsTensorRt() throws IOException {
        assertFalse(CommandLineRun.of("export", "--model", quantized, "--out", out, "--target", "tensorrt").succeeded().err()
                .contains("two products"));
        Path twins = folder.resolve("twins");
        CommandLineRun.of("calibrate", "--model", plain, "--images", folder.resolve("images"), "--count", 2, "--out", twins).succeeded();
        assertTrue(CommandLineRun.of("export", "--model", twins, "--out", folder.resolve("twins.onnx"), "--target", "tensorrt").succeeded()
                .err().contains("two products"));
    }

    @Test
    void aFloatModelIsExportedToo() {
        CommandLineRun.of("export", "--model", plain, "--out", out).succeeded();
        assertTrue(Files.isRegularFile(out));
    }

    @Test
    void weightsForTimmGoIntoAFolder() {
        CommandLineRun.of("export", "--model", quantized, "--format", "timm", "--out", folder.resolve("timm")).succeeded();
        assertTrue(Files.isRegularFile(folder.resolve("timm").resolve("scales.json")));
        CommandLineRun.of("evaluate", "--model", folder.resolve("timm"), "--images", folder.resolve("nowhere")).failed(1, "nowhere");
    }

    @Test
    void whatCannotBeIsRefusedAndLeavesNothing() throws IOException {
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--opset", 20, "--weights", "int4").failed(1, "Opset 20", "21",
                "int8");
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--opset", 13).failed(1, "Opset 13", "17", "23");
        CommandLineRun.of("export", "--model", plain, "--out", out, "--weights", "int4").failed(1, plain, "float32");
        CommandLineRun.of("export", "--model", plain, "--out", out, "--format", "timm").failed(1, plain, "float32");
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--format", "timm", "--opset", 21).failed(2, "--opset");
        CommandLineRun.of("export", "--model", quantized, "--out", out, "--weights", "int2").failed(2, "int2", "int8, int4");
        CommandLineRun.of("export", "--model", quantized, "--out", folder.resolve("no").resolve("m.onnx")).failed(1, folder.resolve("no"));
        CommandLineRun.of("export", "--model", quantized, "--out", plain).failed(1, plain, "is there already");
        CommandLineRun.of("export", "--model", folder.resolve("nowhere"), "--out", out).failed(1, "nowhere");
        assertFalse(Files.exists(out));
        Path wide = folder.resolve("tiny-w8a8");
        CommandLineRun.of("calibrate", "--model", plain, "--images", folder.resolve("images"), "--count", 2, "--preset", "base",
                "--out", wide).succeeded();
        CommandLineRun.of("export", "--model", wide, "--out", out, "--weights", "int4").failed(1, "8 bits", "int8");
        assertFalse(Files.exists(out));
    }

    @Test
    void anUnfinishedCalibrationIsRefused() throws IOException {
        Path manifest = quantized.resolve("manifest.json");
        Files.writeString(manifest, Files.readString(manifest).replace("\"complete\" : true", "\"complete\" : false"));
        CommandLineRun.of("export", "--model", quantized, "--out", out).failed(1, quantized, "incomplete", "--resume");
        assertFalse(Files.exists(out));
    }

    private static int typeOf(ModelProto model, String name) {
        return model.getGraph().getInitializerList().stream().filter(tensor -> tensor.getName().equals(name)).findFirst().orElseThrow()
                .getDataType();
    }
}
