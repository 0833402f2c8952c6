package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Whatever is wrong: one sentence that names it, the right exit code, nothing half-written. */
class BadInputTest extends TinyInput {
    BadInputTest() {
        super(4);
    }

    @AfterEach
    void nothingIsHalfWritten() throws IOException {
        assertFalse(Files.exists(out), "the output folder was made");
        assertNothingTemporary();
    }

    @Test
    void aMissingModelIsNamed() {
        calibrate(folder.resolve("nowhere.safetensors")).failed(1, "nowhere.safetensors");
        evaluate(folder.resolve("nowhere.safetensors")).failed(1, "nowhere.safetensors");
        calibrate(images).failed(1, images, "model.safetensors");
    }

    @Test
    void aTruncatedFileIsNamed() throws IOException {
        byte[] bytes = Files.readAllBytes(model);
        for (int length : new int[] {0, 5, 100, bytes.length / 2, bytes.length - 1}) {
            Files.write(model, Arrays.copyOf(bytes, length));
            calibrate(model).failed(1, model);
            evaluate(model).failed(1, model);
        }
    }

    @Test
    void aHeaderLongerThanTheFileIsNamed() throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(0, 5000);
        Files.write(model, bytes.array());
        calibrate(model).failed(1, model, "5000");
        Files.write(model, bytes.putLong(0, Long.MAX_VALUE).array());
        calibrate(model).failed(1, model);
    }

    @Test
    void aWrongShapeIsNamedWithWhatIsExpected() {
        Map<String, Tensor> tensors = TinyModel.tensors(1);
        tensors.put("blocks.1.mlp.fc2.weight", Tensor.zeros(32, 40));
        calibrate(TinyModel.write(model, tensors)).failed(1, "blocks.1.mlp.fc2.weight", "[32, 40]", "[32, 48]");
    }

    @Test
    void aWrongTypeIsNamed() {
        SafetensorsWriter writer = new SafetensorsWriter().metadata("num_heads", "2");
        TinyModel.tensors(1).forEach((name, tensor) -> {
            if (name.equals("norm.bias")) {
                writer.addInts(name, Shape.of(32), new int[32]);
            } else {
                writer.add(name, tensor);
            }
        });
        writer.write(model);
        calibrate(model).failed(1, model, "norm.bias", "I32");
    }

    @Test
    void anUnknownArchitectureSaysWhatIsMissing() {
        new SafetensorsWriter().add("conv1.weight", Tensor.zeros(8, 3, 3, 3)).write(model);
        calibrate(model).failed(1, model, "patch_embed.proj.weight", "conv1.weight");
        Map<String, Tensor> tensors = TinyModel.tensors(1);
        tensors.remove("blocks.1.attn.proj.bias");
        tensors.remove("norm.weight");
        calibrate(TinyModel.write(model, tensors)).failed(1, "blocks.1.attn.proj.bias", "norm.weight");
    }

    @Test
    void aNumberOfHeadsThatIsNotToldOrDoesNotFitIsNamed() {
        SafetensorsWriter writer = new SafetensorsWriter();
        TinyModel.tensors(1).forEach(writer::add);
        writer.write(model);
        calibrate(model).failed(1, "--heads");
        calibrate(model, "--heads", 5).failed(1, "5", "--heads");
    }

    @Test
    void weightsThatAreNotNumbersAreNamed() {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            Map<String, Tensor> tensors = TinyModel.tensors(1);
            tensors.get("blocks.0.mlp.fc1.weight").data().put(17, bad);
            calibrate(TinyModel.write(model, tensors)).failed(1, model, "blocks.0.mlp.fc1.weight", "17");
        }
    }

    @Test
    void tooFewReadableImagesNameADamagedOne() throws IOException {
        Files.write(images.resolve("image2.png"), new byte[] {(byte) 0xff, (byte) 0xd8, 1, 2, 3});
        calibrate(model, "--count", 4).failed(1, "3", "image2.png");
        calibrate(model, "--count", 5).failed(1, "5", "4", images);
    }

    @Test
    void aFolderWithoutImagesIsNamed() throws IOException {
        Path empty = Files.createDirectories(folder.resolve("empty"));
        CommandLineRun.of("calibrate", "--model", model, "--images", empty, "--out", out).failed(1, empty);
        CommandLineRun.of("calibrate", "--model", model, "--images", folder.resolve("none"), "--out", out).failed(1, "none");
        CommandLineRun.of("evaluate", "--model", model, "--images", empty, "--labels", labels).failed(1, empty);
        CommandLineRun.of("calibrate", "--model", model, "--images", model, "--out", out).failed(1, model);
    }

    @Test
    void labelsThatDoNotMatchAreNamed() throws IOException {
        Map<String, String> wrong = new LinkedHashMap<>();
        wrong.put("image0.png 1\nimage1.png 2\n", "image2.png");
        wrong.put("image0.png 1\nimage1.png seven\n", "Line 2");
        wrong.put("image0.png 7\n", "0 to 6");
        wrong.put("image0.png 1\nimage0.png 1\n", "Line 2");
        for (Map.Entry<String, String> entry : wrong.entrySet()) {
            Files.writeString(labels, entry.getKey());
            evaluate(model).failed(1, labels, entry.getValue());
        }
        Files.delete(labels);
        evaluate(model).failed(1, labels);
        CommandLineRun.of("evaluate", "--model", model, "--images", images).failed(1, images, "file of labels");
    }

    @Test
    void optionsOutOfRangeAreWrongUse() {
        calibrate(model, "--w-bits", 9).failed(2, "9", "2 to 8");
        calibrate(model, "--a-bits", 1).failed(2, "1", "2 to 8");
        calibrate(model, "--w-bits", "eight").failed(2, "--w-bits", "eight");
        calibrate(model, "--preset", "worst").failed(2, "worst", "ptq4vit");
        calibrate(model, "--metric", "kl").failed(2, "kl", "hessian");
        calibrate(model, "--draws", 99).failed(2, "99");
        calibrate(model, "--rounds", 0).failed(2, "0");
        calibrate(model, "--count", 0).failed(2, "0");
        calibrate(model, "--threads", 0).failed(2, "0");
        calibrate(model, "--backend", "abacus").failed(2, "abacus", "cpu");
        calibrate(model, "--transform", "size=3").failed(2, "size");
        calibrate(model, "--transform", "crop=48").failed(2, "48", "32");
        calibrate(model, "--resume", "--force").failed(2, "--resume", "--force");
    }

    @Test
    void unknownAndMissingOptionsAreWrongUse() {
        CommandLineRun.of("calibrate", "--images", images).failed(2, "--model");
        CommandLineRun.of("calibrate", "--modle", model).failed(2, "calibrate");
        CommandLineRun.of("evaluate", "--model", model, "--frobnicate").failed(2, "--images");
        CommandLineRun.of("quantise").failed(2, "quantise");
        CommandLineRun.of().failed(2, "calibrate", "evaluate", "compare", "models", "devices", "quickstart");
    }

    @Test
    void aPlaceThatCannotBeWrittenIsNamed() {
        Path inTheWay = model.resolve("out");
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--count", 2, "--out", inTheWay)
                .failed(1, inTheWay);
    }

    @Test
    void anythingInTheWayIsRefusedBeforeTheModelIsEvenRead() throws IOException {
        Path there = Files.createDirectories(folder.resolve("there"));
        Files.writeString(there.resolve("thesis.tex"), "years of work");
        Path nowhere = folder.resolve("nowhere");
        CommandLineRun.of("calibrate", "--model", nowhere, "--images", images, "--out", there).failed(1, there);
        CommandLineRun.of("calibrate", "--model", nowhere, "--images", images, "--out", there, "--force").failed(1, there, "left alone");
        CommandLineRun.of("calibrate", "--model", nowhere, "--images", images, "--out", there, "--resume").failed(1, there);
        assertEquals("years of work", Files.readString(there.resolve("thesis.tex")));
    }

    @Test
    void aDamagedDescriptionOfTheTransformIsNamed() throws IOException {
        Path config = folder.resolve("config.json");
        Files.writeString(config, "{not json");
        calibrate(model).failed(1, config);
        Files.writeString(config, "{\"mean\": [0.5, 0.5]}");
        calibrate(model).failed(1, "mean", "three numbers");
    }

    @Test
    void weightsOfAnotherModelOrSizeAreNamedWithTheFirstTensorThatDoesNotFit() throws IOException {
        calibrate(model, "--arch", "vit_small_patch16_224").failed(1, model, "cls_token", "[1, 1, 384]", "vit_small_patch16_224");
        calibrate(model, "--arch", "swin_tiny_patch4_window7_224").failed(1, model, "norm.weight", "swin_tiny_patch4_window7_224");
        calibrate(model, "--arch", "vit_enormous").failed(2, "vit_enormous", "vit_small_patch32_224");
        calibrate(model, "--image-size", 45).failed(1, "45");
        calibrate(model, "--image-size", 0).failed(2, "0");
        Files.writeString(folder.resolve("config.json"), "{\"image_size\": 64}");
        calibrate(model).failed(1, model, "64", "pos_embed", "--image-size");
    }

    @Test
    void aTensorOfAnotherArchitectureIsNamed() throws Exception {
        Path models = Path.of(getClass().getResource("/models").toURI());
        calibrate(models.resolve("kinds/query-norms.safetensors")).failed(1, "query-norms.safetensors", "blocks.0.attn.q_norm");
    }

    @Test
    void aMissingShardIsNamed() throws Exception {
        Path shards = Path.of(getClass().getResource("/models/vit-shards").toURI());
        Path cut = Files.createDirectories(folder.resolve("cut"));
        for (String name : new String[] {"model.safetensors.index.json", "config.json", "model-00001-of-00002.safetensors"}) {
            Files.copy(shards.resolve(name), cut.resolve(name));
        }
        calibrate(cut).failed(1, "model-00002-of-00002.safetensors");
    }

    @Test
    void aTransformThatCannotBeDoneIsNamed() throws IOException {
        Path processor = folder.resolve("preprocessor_config.json");
        for (String bad : new String[] {"{}", "{\"size\": {\"height\": 32, \"width\": 48}}", "{\"size\": 32, \"resample\": 9}",
            "{\"size\": 32, \"image_mean\": [0.5], \"image_std\": [1, 1, 1]}", "{\"size\": 32, \"do_rescale\": false}", "{\"size\": 0}"}) {
            Files.writeString(processor, bad);
            calibrate(model).failed(1, processor);
        }
    }

    @Test
    void anotherActivationIsRefused() throws IOException {
        Files.writeString(folder.resolve("config.json"), "{\"hidden_act\": \"quick_gelu\"}");
        calibrate(model).failed(1, "quick_gelu");
    }

    @Test
    void comparisonsOfNothingOrTwiceTheSameAreWrongUse() {
        compare("--bits", "8,8").failed(2, "twice");
        compare("--bits", "1").failed(2, "1", "2 to 8");
        compare("--presets", "worst").failed(2, "worst");
        compare("--count", "0").failed(2, "0");
    }

    private CommandLineRun compare(Object... more) {
        return CommandLineRun.of(Stream.concat(Stream.of("compare", "--model", model, "--images", images, "--eval", images, "--labels",
                labels, "--out", out), Arrays.stream(more)).toArray());
    }

    @Test
    void verboseShowsWhere() {
        CommandLineRun run = calibrate(folder.resolve("nowhere.safetensors"), "--verbose");
        assertEquals(1, run.code());
        assertTrue(run.err().contains("\tat "), run.err());
    }

    private CommandLineRun calibrate(Path file, Object... more) {
        return CommandLineRun.of(Stream.concat(Stream.of("calibrate", "--model", file, "--images", images, "--out", out),
                count(more)).toArray());
    }

    private static Stream<Object> count(Object... more) {
        return Arrays.asList(more).contains("--count") ? Arrays.stream(more)
                : Stream.concat(Stream.of("--count", 2), Arrays.stream(more));
    }

    private CommandLineRun evaluate(Path file) {
        return CommandLineRun.of("evaluate", "--model", file, "--images", images, "--labels", labels);
    }
}
