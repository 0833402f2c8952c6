package io.github.ptq4vit.export;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.Provenance;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DequantizedWeightsTest {
    @TempDir
    Path folder;

    @Test
    void aFloatModelWithTheNumbersThatTheCodesStandFor() throws IOException {
        Architecture config = OnnxLayersTest.architectures().get(0);
        Checkpoint checkpoint = checkpoint(config);
        Path out = folder.resolve("timm");
        DequantizedWeights.write(checkpoint, out);
        VisionTransformer read = ModelReader.read(out.resolve(DequantizedWeights.WEIGHTS), ReadOptions.heads(3));
        assertEquals(config.layers(), read.config().layers());
        QuantizedLayer fc1 = checkpoint.model().byName().get("blocks.1.mlp.fc1");
        float[] weight = read.tensor("blocks.1.mlp.fc1.weight").toArray();
        for (int i = 0; i < weight.length; i++) {
            assertEquals(fc1.weightCodes()[i] * fc1.rightGrids().get(0).ranges().get(0).step(), weight[i]);
        }
        assertArrayEquals(checkpoint.model().model().tensor("norm.weight").toArray(), read.tensor("norm.weight").toArray());
        JsonNode scales = new ObjectMapper().readTree(out.resolve(DequantizedWeights.SCALES).toFile());
        assertEquals(config.layers().size(), scales.get("layers").size());
        JsonNode qkv = Stream.iterate(0, i -> i + 1).map(i -> scales.get("layers").get(i))
                .filter(layer -> layer.get("name").asText().equals("blocks.0.attn.qkv")).findFirst().orElseThrow();
        assertEquals(3, qkv.get("weight").get("scales").size());
        assertEquals(0.03125, qkv.get("input").get("scales").get(0).asDouble());
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(out), left.toList());
        }
    }

    @Test
    void aSwinHasTheNamesOfToday() {
        Path out = folder.resolve("timm");
        DequantizedWeights.write(checkpoint(OnnxLayersTest.architectures().get(6)), out);
        try (SafetensorsFile file = SafetensorsFile.open(out.resolve(DequantizedWeights.WEIGHTS))) {
            assertTrue(new TreeSet<>(file.names()).containsAll(List.of("head.fc.weight", "head.fc.bias",
                    "layers.1.downsample.reduction.weight", "layers.1.downsample.norm.weight")), file.names().toString());
            assertTrue(file.names().stream().noneMatch(name -> name.startsWith("layers.0.downsample")));
        }
    }

    @Test
    void weightsOfTransformedInputsAreWrittenForInputsAsTheyAre() throws IOException {
        Architecture config = OnnxLayersTest.architectures().get(0);
        VisionTransformer model = RandomVit.of(config, 3);
        QuantizedModel plain = QuantizedBySize.of(model, new BitWidths(8, 8), TwinRule.FREE);
        float[] factors = new float[config.dim()];
        for (int c = 0; c < factors.length; c++) {
            factors[c] = 1 + c / 10f;
        }
        InputTransform transform = new InputTransform(0.25f, factors, 8, 0, RowScale.NONE, RowScale.NONE);
        String name = "blocks.1.mlp.fc1";
        QuantizedLayer fc1 = plain.byName().get(name);
        QuantizedLayer transformed = new QuantizedLayer(name, fc1.left(), fc1.right(), fc1.weightCodes(), transform);
        QuantizedModel changed = new QuantizedModel(model, plain.layers().stream()
                .map(layer -> layer.name().equals(name) ? transformed : layer).toList());
        Path out = folder.resolve("timm");
        DequantizedWeights.write(checkpoint(changed), out);
        float[] written = ModelReader.read(out.resolve(DequantizedWeights.WEIGHTS), ReadOptions.heads(3)).tensor(name + ".weight").toArray();
        float[] codes = fc1.dequantizedWeight(written.length / factors.length);
        float[] x = RandomVit.images(config, 1, 5).toArray();
        float[] y = new float[factors.length];
        for (int c = 0; c < y.length; c++) {
            y[c] = (x[c] + transform.shift()) * factors[c];
        }
        HostOperations.hadamard(y, y.length, transform.hadamard());
        float[] bias = transformed.biasWithoutShift(Optional.of(Tensor.zeros(codes.length / y.length)), codes.length / y.length)
                .orElseThrow().toArray();
        for (int o = 0; o < bias.length; o++) {
            double expected = bias[o];
            double actual = 0;
            for (int c = 0; c < y.length; c++) {
                expected += (double) codes[o * y.length + c] * y[c];
                actual += (double) written[o * y.length + c] * x[c];
            }
            assertEquals(expected, actual, 1e-4);
        }
        JsonNode scales = new ObjectMapper().readTree(out.resolve(DequantizedWeights.SCALES).toFile());
        assertEquals(List.of(8), scales.findValues("input_transform").stream().map(node -> node.get("hadamard").asInt()).toList());
    }

    @Test
    void aPlaceThatCannotBeWrittenIsNamedAndNothingStays() throws IOException {
        Path out = folder.resolve("none").resolve("timm");
        String message = assertThrows(ExportException.class,
                () -> DequantizedWeights.write(checkpoint(OnnxLayersTest.architectures().get(0)), out)).getMessage();
        assertTrue(message.contains(out.toString()), message);
        Path file = folder.resolve("none").resolve("model.onnx");
        OnnxModel model = OnnxModel.of(RandomVit.of(OnnxLayersTest.architectures().get(0), 1),
                new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8));
        assertTrue(assertThrows(ExportException.class, () -> model.write(file)).getMessage().contains(file.toString()));
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(), left.toList());
        }
    }

    private static Checkpoint checkpoint(Architecture config) {
        return checkpoint(QuantizedBySize.of(RandomVit.of(config, 3), new BitWidths(8, 8), TwinRule.FREE));
    }

    private static Checkpoint checkpoint(QuantizedModel model) {
        return new Checkpoint(model, "crop=" + model.model().config().imageSize(), new Provenance(Map.of(), 0, List.of(), "", "", "", Map.of()));
    }
}
