package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.TorchWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Files as users have them, from end to end. */
class UserFilesTest extends TinyInput {
    UserFilesTest() {
        super(6);
    }

    private CommandLineRun evaluate(Object... more) {
        return CommandLineRun.of(Stream.concat(Stream.of("evaluate", "--images", images, "--labels", labels), Arrays.stream(more)).toArray());
    }

    private static JsonNode json(CommandLineRun run) throws IOException {
        return new JsonMapper().readTree(run.succeeded().out());
    }

    private Path withMetadata(String... facts) {
        SafetensorsWriter writer = new SafetensorsWriter().metadata("num_heads", "2");
        for (int i = 0; i < facts.length; i += 2) {
            writer.metadata(facts[i], facts[i + 1]);
        }
        TinyModel.tensors(1).forEach(writer::add);
        Path file = folder.resolve("facts.safetensors");
        writer.write(file);
        return file;
    }

    private String transform(Path file) {
        return evaluate("--model", file).succeeded().err().lines().filter(line -> line.startsWith("transform: ")).findFirst().orElseThrow();
    }

    @Test
    void metadataOfSafetensorsSayTheTransformInEveryForm() {
        String expected = "transform: resize=35,crop=32,mean=0.1:0.2:0.3,std=0.5:0.5:0.5,filter=bilinear";
        assertEquals(expected, transform(withMetadata("mean", "[0.1, 0.2, 0.3]", "std", "0.5,0.5,0.5", "crop_pct", "0.9", "interpolation",
                "bilinear")));
        assertEquals(expected, transform(withMetadata("pretrained_cfg", "{\"mean\": [0.1, 0.2, 0.3], \"std\": [0.5, 0.5, 0.5], "
                + "\"crop_pct\": 0.9, \"interpolation\": \"bilinear\", \"pool_size\": null}")));
        assertEquals(expected, transform(withMetadata("pretrained_cfg", "{'mean': (0.1, 0.2, 0.3), 'std': (0.5, 0.5, 0.5), "
                + "'crop_pct': 0.9, 'interpolation': 'bilinear', 'pool_size': None, 'fixed_input_size': True}")));
        evaluate("--model", withMetadata("crop_mode", "around")).failed(1, "crop_mode", "around", "facts.safetensors");
    }

    @Test
    void nullCountsAsAbsentInEveryFile() throws IOException {
        String before = transform(model);
        Files.writeString(folder.resolve("config.json"), "{\"mean\": null, \"std\": null, \"crop_pct\": null, \"interpolation\": null, "
                + "\"pretrained_cfg\": null, \"image_size\": null, \"num_attention_heads\": null, \"layer_norm_eps\": null, \"hidden_act\": null}");
        assertEquals(before, transform(model));
    }

    @Test
    void theWrappersProcessorFileSaysTimmsTransform() throws IOException {
        Files.writeString(folder.resolve("preprocessor_config.json"), "{\"image_processor_type\": \"TimmWrapperImageProcessor\", "
                + "\"pretrained_cfg\": {\"input_size\": [3, 32, 32], \"crop_pct\": 0.9, \"mean\": [0.5, 0.5, 0.5], \"std\": [0.5, 0.5, 0.5]}}");
        assertEquals("transform: resize=35,crop=32,mean=0.5:0.5:0.5,std=0.5:0.5:0.5", transform(model));
    }

    @Test
    void aTransformThatIsSaidAsAWholeNeedsNoFile() throws IOException {
        Files.writeString(folder.resolve("preprocessor_config.json"), "{\"image_processor_type\": \"Unheard\"}");
        evaluate("--model", model).failed(1, "preprocessor_config.json", "Unheard", "--transform");
        evaluate("--model", model, "--transform", "resize=32,crop=32,mean=0.5,std=0.5").succeeded();
    }

    @Test
    void imagesToEvaluateOnMayBeCroppedAlready() throws IOException {
        Object[] common = {"compare", "--model", model, "--images", images, "--eval", images, "--labels", labels, "--count", 3, "--presets",
            "base", "--bits", 8, "--out"};
        CommandLineRun.of(Stream.concat(Arrays.stream(common), Stream.of(folder.resolve("one"))).toArray()).succeeded();
        CommandLineRun run = CommandLineRun.of(Stream.concat(Arrays.stream(common), Stream.of(folder.resolve("two"), "--eval-resize", "none",
                "--eval-transform", "mean=0.4")).toArray()).succeeded();
        assertTrue(run.err().contains("transform for evaluation: resize=none,crop=32,mean=0.4:0.4:0.4"), run.err());
        Checkpoint one = Checkpoint.read(folder.resolve("one/base-w8a8"));
        Checkpoint two = Checkpoint.read(folder.resolve("two/base-w8a8"));
        assertEquals(one.transform(), two.transform());
        assertEquals(one.provenance().pixelsHash(), two.provenance().pixelsHash());
        assertTrue(Files.readString(folder.resolve("two/comparison.json")).contains("resize=none"));
        CommandLineRun.of(Stream.concat(Arrays.stream(common), Stream.of(folder.resolve("three"), "--eval-transform", "crop=48")).toArray())
                .failed(2, "48", "32");
    }

    @Test
    void theKeyOfTheWeightsIsPartOfWhatACalibrationIsOf() throws IOException {
        Map<String, Tensor> other = TinyModel.tensors(2);
        Map<String, Object> checkpoint = new LinkedHashMap<>();
        checkpoint.put("state_dict", TinyModel.tensors(1));
        checkpoint.put("state_dict_ema", other);
        Path file = TorchWriter.write(folder.resolve("last.ckpt"), checkpoint);
        CommandLineRun usual = evaluate("--model", file, "--heads", 2, "--against", TinyModel.write(folder.resolve("ema.safetensors"), other),
                "--json");
        assertEquals(1.0, json(usual).required("agreement").doubleValue());
        assertTrue(usual.err().contains("state_dict_ema, the exponential moving average (EMA)"), usual.err());
        CommandLineRun chosen = evaluate("--model", file, "--heads", 2, "--weights-key", "state_dict", "--against", model, "--json");
        assertEquals(1.0, json(chosen).required("agreement").doubleValue());
        evaluate("--model", file, "--heads", 2, "--weights-key", "model").failed(1, "model", "state_dict_ema");

        Object[] calibrate = {"calibrate", "--model", file, "--heads", 2, "--images", images, "--count", 2, "--preset", "base", "--out"};
        CommandLineRun.of(Stream.concat(Arrays.stream(calibrate), Stream.of(out, "--weights-key", "state_dict")).toArray()).succeeded();
        assertEquals("state_dict", Checkpoint.read(out).provenance().configuration().get("weights_key"));
        Path plain = folder.resolve("plain");
        CommandLineRun.of(Stream.concat(Arrays.stream(calibrate), Stream.of(plain)).toArray()).succeeded();
        assertFalse(Checkpoint.read(plain).provenance().configuration().containsKey("weights_key"));
    }
}
