package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.CheckpointWriter;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.quant.LayerRecord;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class CommandsTest extends TinyInput {
    CommandsTest() {
        super(6);
    }

    @Test
    void whatIsCalibratedCanBeEvaluatedFromItsFolderAlone() throws IOException {
        JsonNode made = json(calibrate(out, "--json"));
        assertEquals(14, made.required("layers").intValue());
        assertTrue(made.required("seconds").doubleValue() >= made.required("search_seconds").doubleValue());
        assertTrue(made.required("peak_memory_bytes").longValue() > 1_000_000);
        assertTrue(made.required("divergence").doubleValue() > 0 && made.required("divergence").doubleValue() < 1);
        assertEquals("cpu", made.required("backend").textValue());
        assertEquals(out.toString(), made.required("out").textValue());
        Path moved = Files.move(out, folder.resolve("moved"));
        JsonNode result = json(CommandLineRun.of("evaluate", "--model", moved, "--against", model, "--images", images,
                "--labels", labels, "--json"));
        assertEquals(6, result.required("images").intValue());
        assertEquals(0, result.required("skipped").intValue());
        for (String name : new String[] {"top1", "top5", "agreement", "float_top1", "only_float_right",
            "only_quantized_right"}) {
            double fraction = result.required(name).doubleValue();
            assertTrue(fraction >= 0 && fraction <= 1, name + " " + fraction);
        }
        assertEquals(result.required("top1").doubleValue() - result.required("only_quantized_right").doubleValue(),
                result.required("float_top1").doubleValue() - result.required("only_float_right").doubleValue(), 1e-12);
        assertTrue(result.required("images_per_second").doubleValue() > 0);
    }

    @Test
    void bestIsCalibratedWithItsOptionsAndEvaluated() throws IOException {
        for (String[] options : new String[][] {{}, {"--activations", "dynamic"}, {"--without", "hadamard,error-feedback"}}) {
            Path own = folder.resolve("best" + options.length + String.join("", options));
            Object[] all = Stream.concat(Stream.of("--preset", "best", "--w-bits", 4, "--a-bits", 4, "--count", 6, "--json"),
                    Arrays.stream(options)).toArray();
            JsonNode made = json(calibrate(own, all));
            assertTrue(made.required("divergence").doubleValue() < 1);
            JsonNode result = json(CommandLineRun.of("evaluate", "--model", own, "--against", model, "--images", images,
                    "--labels", labels, "--json"));
            // the folder alone gives what the calibration measured
            assertEquals(made.required("divergence").doubleValue(), result.required("divergence").doubleValue(), 1e-6);
        }
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--preset", "ptq4vit", "--activations", "dynamic")
                .failed(2, "--activations");
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--preset", "best", "--metric", "cosine")
                .failed(2, "--metric");
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--preset", "best", "--without", "hadamad")
                .failed(2, "hadamad");
    }

    @Test
    void bitWidthsMayDifferFromLayerToLayer() throws IOException {
        Path own = folder.resolve("planned");
        calibrate(own, "--preset", "best", "--w-bits", 4, "--a-bits", 4, "--count", 6, "--avg-bits", 4.5, "--plan", "edges8", "--keep",
                "mlp.fc2=W3A6").succeeded();
        JsonNode manifest = new JsonMapper().readTree(own.resolve("manifest.json").toFile());
        assertEquals("4.5 bits on average", manifest.required("provenance").required("configuration").required("target").asText());
        for (JsonNode layer : manifest.required("layers")) {
            String name = layer.required("name").asText();
            if (name.endsWith("mlp.fc2")) {
                assertEquals(3, layer.required("weight").required("bits").intValue());
                assertEquals(6, layer.required("input").required("bits").intValue());
            } else if (name.equals("head")) {
                assertEquals(8, layer.required("weight").required("bits").intValue());
            }
        }
        Path partly = folder.resolve("partly");
        JsonNode made = json(calibrate(partly, "--preset", "best", "--w-bits", 3, "--a-bits", 3, "--count", 6, "--exclude",
                "head,blocks.0.mlp.fc1,blocks.0.attn,patch_embed", "--json"));
        assertEquals("none", new JsonMapper().readTree(partly.resolve("manifest.json").toFile()).required("layers").get(0)
                .required("weight").required("kind").asText());
        JsonNode evaluated = json(CommandLineRun.of("evaluate", "--model", partly, "--against", model, "--images", images,
                "--labels", labels, "--json"));
        assertEquals(made.required("divergence").doubleValue(), evaluated.required("divergence").doubleValue(), 1e-6);
        CommandLineRun.of("export", "--model", partly, "--format", "onnx", "--out", folder.resolve("partly.onnx")).succeeded();
        assertTrue(calibrate(folder.resolve("poor"), "--preset", "best", "--count", 6, "--keep", "blocks.0.mlp.fc1=2").succeeded().err()
                .contains("blocks.0.mlp.fc1 alone causes"));
        Object[] usual = {"calibrate", "--model", model, "--images", images, "--preset", "best"};
        for (Object[] wrong : new Object[][] {{"--keep", "mlp.fc3=8", "mlp.fc"}, {"--keep", "head=9", "from 2 to 8"}, {"--exclude", "heads", "head"},
            {"--avg-bits", "1.5", "from 2 to 8"}, {"--max-drop", "-1", "from 0 to 100"}, {"--size", "3 apples", "3MB"}, {"--plan", "edges", "edges8"}}) {
            CommandLineRun.of(Stream.concat(Arrays.stream(usual), Arrays.stream(wrong).limit(2)).toArray()).failed(2, wrong[2]);
        }
        CommandLineRun tooSmall = CommandLineRun.of(Stream.concat(Arrays.stream(usual), Stream.of("--count", 6, "--size", "1kB", "--out",
                folder.resolve("small"))).toArray());
        assertEquals(1, tooSmall.code());
        assertTrue(tooSmall.err().contains("the smallest that can be reached"), tooSmall.err());
        CommandLineRun.of("calibrate", "--model", model, "--images", images, "--keep", "head=8").failed(2, "preset best");
    }

    @Test
    void sensitivityRanksLayers() throws IOException {
        Object[] usual = {"sensitivity", "--model", model, "--images", images, "--count", 4};
        JsonNode layers = json(CommandLineRun.of(Stream.concat(Arrays.stream(usual), Stream.of("--json")).toArray())).required("layers");
        double before = Double.POSITIVE_INFINITY;
        for (JsonNode layer : layers) {
            double cost = layer.required("weight_costs").get(2).doubleValue() + layer.required("activation_costs").get(2).doubleValue();
            assertTrue(cost <= before, layers.toString());
            before = cost;
        }
        List<String> table = CommandLineRun.of(usual).succeeded().out().lines().toList();
        assertEquals(layers.size() + 2, table.size());
        assertTrue(table.get(1).startsWith(layers.get(0).required("layer").asText() + " "), table.get(1));
        List<String> csv = CommandLineRun.of(Stream.concat(Arrays.stream(usual), Stream.of("--csv")).toArray()).succeeded().out().lines()
                .toList();
        assertEquals(layers.size() + 1, csv.size());
        assertEquals("layer,W8,W6,W4,W3,W2,A8,A6,A4,A3,A2", csv.get(0));
        CommandLineRun.of(Stream.concat(Arrays.stream(usual), Stream.of("--sort-bits", 9)).toArray()).failed(2, "2 to 8");
    }

    @Test
    void withoutAComparisonThereAreNoFieldsOfIt() throws IOException {
        JsonNode result = json(CommandLineRun.of("evaluate", "--model", model, "--images", images, "--labels", labels, "--json"));
        assertFalse(result.has("agreement") || result.has("float_top1"), result.toString());
        assertTrue(CommandLineRun.of("evaluate", "--model", model, "--images", images, "--labels", labels).succeeded().out()
                .contains("top-1"));
    }

    @Test
    void equalRunsGiveEqualBytesWhereverTheyRun() throws IOException {
        calibrate(out).succeeded();
        Path other = folder.resolve("elsewhere/out");
        calibrate(other, "--threads", 1).succeeded();
        for (String file : new String[] {"manifest.json", "model.safetensors"}) {
            assertTrue(Arrays.equals(Files.readAllBytes(out.resolve(file)), Files.readAllBytes(other.resolve(file))), file);
        }
        String manifest = Files.readString(out.resolve("manifest.json"));
        assertFalse(manifest.contains(folder.toString()), "paths do not belong into a manifest");
    }

    @Test
    void aCompleteFolderIsRefusedReplacedOrFoundComplete() throws IOException {
        calibrate(out, "--w-bits", 4).succeeded();
        byte[] before = Files.readAllBytes(out.resolve("model.safetensors"));
        calibrate(out).failed(1, out, "--resume", "--force");
        assertTrue(calibrate(out, "--resume").succeeded().err().contains("complete"));
        assertEquals(14, json(calibrate(out, "--resume", "--json")).required("layers").intValue());
        assertTrue(Arrays.equals(before, Files.readAllBytes(out.resolve("model.safetensors"))));
        calibrate(out, "--force").succeeded();
        assertFalse(Arrays.equals(before, Files.readAllBytes(out.resolve("model.safetensors"))));
        assertEquals(8, Checkpoint.read(out).model().layers().get(1).right().get(0).bits());
    }

    @Test
    void anInterruptedCalibrationIsContinuedToTheSameBytes() throws IOException {
        calibrate(out).succeeded();
        Checkpoint whole = Checkpoint.read(out);
        Path cut = folder.resolve("cut");
        try (OutputFolder target = OutputFolder.open(cut, Existing.REFUSE)) {
            CheckpointWriter writer = CheckpointWriter.open(target, ModelReader.read(model, OptionalInt.empty()), whole.transform(),
                    whole.provenance());
            TinyModel.units(whole.model().layers()).forEach((unit, layers) -> {
                if (unit.equals("head") || unit.equals("blocks.0")) {
                    writer.unit(unit, layers);
                }
            });
        }
        CommandLineRun.of("evaluate", "--model", cut, "--images", images, "--labels", labels)
                .failed(1, cut, "2 of 4 units", "--resume");
        calibrate(cut).failed(1, cut, "--resume");
        calibrate(cut, "--resume", "--seed", 1).failed(1, cut, "the seed");
        calibrate(cut, "--resume", "--metric", "l2").failed(1, cut, "metric was hessian and is now l2");
        calibrate(cut, "--resume", "--count", 4).failed(1, cut, "images");
        calibrate(cut, "--resume").succeeded();
        for (String file : new String[] {"manifest.json", "model.safetensors"}) {
            assertTrue(Arrays.equals(Files.readAllBytes(out.resolve(file)), Files.readAllBytes(cut.resolve(file))), file);
        }
        assertFalse(Files.exists(cut.resolve("parts")));
        // the two units above came without records
        List<LayerRecord> records = Checkpoint.records(out);
        assertEquals(14, records.size());
        assertEquals(records.stream().filter(record -> record.layer().matches("(patch_embed|blocks.1).*")).toList(),
                Checkpoint.records(cut));
    }

    @Test
    void aQuantisedModelIsNotQuantisedAgain() {
        calibrate(out).succeeded();
        for (Path path : new Path[] {out, out.resolve("model.safetensors")}) {
            CommandLineRun.of("calibrate", "--model", path, "--images", images, "--out", folder.resolve("twice"))
                    .failed(1, path, "quantised already");
        }
        CommandLineRun.of("evaluate", "--model", out.resolve("model.safetensors"), "--images", images, "--labels", labels)
                .succeeded();
    }

    @Test
    void quickstartComparesAllPresetsAtThreeWidths() throws IOException {
        Path example = Files.createDirectories(folder.resolve("home/examples/characters"));
        Files.copy(model, example.resolve("model.safetensors"));
        TinyModel.images(example.resolve("calibration"), 4);
        TinyModel.labels(TinyModel.images(example.resolve("validation"), 6).resolve("labels.txt"), 6);
        System.setProperty("ptq4vit.home", folder.resolve("home").toString());
        try {
            JsonNode result = json(CommandLineRun.of("quickstart", "--json", "--count", 4, "--out", out));
            assertEquals(9, result.required("rows").size());
            assertEquals(6, result.required("images").intValue());
            JsonNode last = result.required("rows").get(8);
            assertEquals("best 4", last.required("preset").textValue() + " " + last.required("weight_bits"));
            assertEquals(100 * (last.required("top1").doubleValue() - result.required("float_top1").doubleValue()),
                    last.required("difference_points").doubleValue(), 1e-9);
            assertEquals(4, Checkpoint.read(out.resolve("base-w4a4")).model().layers().get(1).right().get(0).bits());
            CommandLineRun.of("quickstart", "--out", out).failed(1, out);
            System.setProperty("ptq4vit.home", folder.toString());
            CommandLineRun.of("quickstart").failed(1, folder.resolve("examples"));
        } finally {
            System.clearProperty("ptq4vit.home");
        }
    }

    @Test
    void compareMeasuresEveryPresetAtEveryWidthAsEvaluateDoes() throws IOException {
        JsonNode result = json(compare("--json"));
        assertEquals(4, result.required("rows").size());
        assertEquals(6, result.required("images").intValue());
        assertFalse(result.has("paper_float_top1"), "the paper knows no such model");
        JsonNode last = result.required("rows").get(3);
        assertEquals("ptq4vit 4 4", last.required("preset").textValue() + " " + last.required("weight_bits") + " "
                + last.required("activation_bits"));
        JsonNode one = json(CommandLineRun.of("evaluate", "--model", out.resolve("ptq4vit-w4a4"), "--against", model, "--images",
                images, "--labels", labels, "--json"));
        for (String name : new String[] {"top1", "top5", "agreement"}) {
            assertEquals(one.required(name), last.required(name), name);
        }
        assertEquals(one.required("float_top1"), result.required("float_top1"));
        assertTrue(compare().succeeded().out().contains("agreement"));
    }

    @Test
    void anInterruptedComparisonGoesOnWhereItStopped() throws IOException {
        JsonNode whole = json(compare("--json"));
        byte[] counts = Files.readAllBytes(out.resolve("comparison.json"));
        byte[] weights = Files.readAllBytes(out.resolve("base-w4a4/model.safetensors"));
        // as after a kill: one calibration is not there yet, and of the images three were counted, all wrong
        try (Stream<Path> files = Files.list(out.resolve("base-w4a4"))) {
            files.forEach(file -> file.toFile().delete());
        }
        JsonNode state = new JsonMapper().readTree(counts);
        ((ObjectNode) state).put("done", 3);
        state.required("tallies").forEach(t -> ((ObjectNode) t).put("images", 3).put("top1", 0).put("top5", 0).put("agreeing", 0));
        Files.writeString(out.resolve("comparison.json"), state.toString());
        CommandLineRun run = compare("--json");
        JsonNode rest = json(run);
        assertTrue(run.err().contains("continued after 3 of 6"), run.err());
        assertEquals(6, rest.required("images").intValue());
        assertTrue(rest.required("float_top5").doubleValue() <= 0.5 && whole.required("float_top5").doubleValue() >= 0.5);
        assertTrue(Arrays.equals(weights, Files.readAllBytes(out.resolve("base-w4a4/model.safetensors"))));
        assertTrue(compare("--json").succeeded().err().contains("continued after 6 of 6"));
    }

    @Test
    void aComparisonOfSomethingElseIsNotContinued() throws IOException {
        compare().succeeded();
        compare("--seed", 1).failed(1, "base-w8a8", "choose another --out");
        TinyModel.images(images, 7);
        Files.writeString(labels, Files.readString(labels) + "image6.png 0\n");
        compare().failed(1, out, "choose another --out");
        Files.writeString(out.resolve("base-w8a8/manifest.json"), "{");
        compare().failed(1, "base-w8a8");
    }

    private CommandLineRun compare(Object... more) {
        return CommandLineRun.of(Stream.concat(Stream.of("compare", "--model", model, "--images", images, "--count", 3, "--eval", images,
                "--labels", labels, "--bits", "8,4", "--out", out), Arrays.stream(more)).toArray());
    }

    @Test
    void theModelsOfThePaperAreListed() throws IOException {
        JsonNode models = json(CommandLineRun.of("models", "--json")).required("models");
        assertEquals(11, models.size());
        JsonNode swin = models.get(7);
        assertEquals("swin_tiny_patch4_window7_224", swin.required("name").textValue());
        assertEquals(77, swin.required("layers").intValue());
        assertEquals(80.47, swin.required("paper_top1").required("ptq4vit-w6a6").doubleValue());
        assertTrue(swin.required("transform").textValue().startsWith("resize=248,crop=224,mean=0.485"));
        String table = CommandLineRun.of("models").succeeded().out();
        for (JsonNode one : models) {
            assertTrue(table.contains(one.required("name").textValue()));
        }
    }

    @Test
    void foldersOfHuggingFaceAndFilesOfPyTorchAreCalibratedAndTellTheirTransform() throws Exception {
        Path models = Path.of(getClass().getResource("/models").toURI());
        String stretched = "resize=32,crop=32,mean=0.5:0.5:0.5,std=0.5:0.5:0.5,filter=bilinear,fit=stretch";
        assertTrue(transform(models.resolve("vit-hf")).contains(stretched));
        assertTrue(transform(models.resolve("vit-hf"), "--image-size", 48).contains("resize=48,crop=48,"));
        assertTrue(transform(models.resolve("swin-hf")).contains("resize=32,crop=32,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,fit=stretch"));
        assertTrue(transform(models.resolve("vit/torchvision.pth"), "--heads", 2).contains("filter=bilinear"));
        assertTrue(transform(models.resolve("swin/timm-new.safetensors"), "--image-size", 32).contains("mean=0.485"));
        for (String name : new String[] {"vit-shards", "swin-hf", "kinds/average.safetensors", "kinds/pre-logits.pth"}) {
            Path target = folder.resolve("quantised-" + name.replace('/', '-'));
            CommandLineRun.of("calibrate", "--model", models.resolve(name), "--images", images, "--count", 3, "--heads", 2, "--out", target)
                    .succeeded();
            JsonNode result = json(CommandLineRun.of("evaluate", "--model", target, "--against", models.resolve(name), "--heads", 2,
                    "--images", images, "--labels", labels, "--json"));
            assertTrue(result.required("agreement").doubleValue() >= 0.5, name);
        }
    }

    @Test
    void aDamagedImageIsNamedLeftOutAndCounted() throws IOException {
        Files.write(images.resolve("image1.png"), new byte[] {1, 2, 3});
        CommandLineRun run = CommandLineRun.of("evaluate", "--model", model, "--images", images, "--labels", labels, "--json");
        JsonNode result = json(run);
        assertEquals(5, result.required("images").intValue());
        assertEquals(1, result.required("skipped").intValue());
        assertTrue(run.err().contains("image1.png"), run.err());
        calibrate(out, "--count", 5).succeeded();
        assertFalse(Checkpoint.read(out).provenance().imageIds().contains("image1.png"));
    }

    @Test
    void theTransformComesFromTheModelThenFromBesideItThenFromItsName() throws IOException {
        assertTrue(transform(model).contains("mean=0.5:0.5:0.5"));
        Path deit = Files.createDirectories(folder.resolve("deit_tiny"));
        Path inside = Files.copy(model, deit.resolve("model.safetensors"));
        assertTrue(transform(deit).contains("mean=0.485:0.456:0.406"));
        assertTrue(transform(inside).contains("mean=0.485:0.456:0.406"));
        Files.writeString(deit.resolve("config.json"),
                "{\"architecture\": \"x\", \"pretrained_cfg\": {\"mean\": [0.1, 0.2, 0.3], \"std\": [1, 1, 1], \"crop_pct\": 1.0}}");
        assertTrue(transform(deit).contains("resize=32,crop=32,mean=0.1:0.2:0.3,std=1.0:1.0:1.0"), transform(deit));
        assertTrue(transform(deit, "--resize", "none", "--transform", "mean=0.4").contains("resize=none,crop=32,mean=0.4:0.4:0.4"));
    }

    @Test
    void theTransformOfTheCalibrationIsUsedForEvaluation() throws IOException {
        calibrate(out, "--transform", "resize=33,mean=0.25").succeeded();
        CommandLineRun run = CommandLineRun.of("evaluate", "--model", out, "--images", images, "--labels", labels);
        assertTrue(run.succeeded().err().contains("resize=33,crop=32,mean=0.25:0.25:0.25"), run.err());
    }

    @Test
    void classFoldersServeAsLabels() throws IOException {
        Path sorted = folder.resolve("sorted");
        for (int c = 0; c < TinyModel.CLASSES; c++) {
            TinyModel.images(sorted.resolve("class" + c), 1);
        }
        JsonNode result = json(CommandLineRun.of("evaluate", "--model", model, "--images", sorted, "--json"));
        assertEquals(TinyModel.CLASSES, result.required("images").intValue());
        // all images are equal, so exactly one class is right
        assertEquals(1.0 / TinyModel.CLASSES, result.required("top1").doubleValue(), 1e-12);
    }

    @Test
    void devicesAreListedWithWhatTheyAre() throws IOException {
        JsonNode cpu = json(CommandLineRun.of("devices", "--json")).required("backends").get(0);
        assertEquals("cpu", cpu.required("name").textValue());
        assertTrue(cpu.required("available").booleanValue() && cpu.required("reasons").isArray());
        assertTrue(CommandLineRun.of("devices").succeeded().out().contains("cpu"));
    }

    @Test
    void timingsAreATableOrPartOfTheObject() throws IOException {
        assertTrue(json(calibrate(out, "--timings", "--json")).required("timings").size() > 2);
        assertTrue(calibrate(folder.resolve("other"), "--timings").succeeded().out().contains(" %"));
    }

    @Test
    void helpAndVersionEndWell() {
        for (String command : new String[] {"calibrate", "evaluate", "compare", "models", "devices", "quickstart"}) {
            assertTrue(CommandLineRun.of(command, "--help").succeeded().out().contains("Usage: ptq4vit " + command));
        }
        assertTrue(CommandLineRun.of("--version").succeeded().out().startsWith("ptq4vit "));
    }

    private String transform(Path path, Object... more) {
        return CommandLineRun.of(Stream.concat(Stream.of("evaluate", "--model", path, "--images", images, "--labels", labels),
                Arrays.stream(more)).toArray()).succeeded().err();
    }

    private CommandLineRun calibrate(Path target, Object... more) {
        Stream<Object> count = Arrays.asList(more).contains("--count") ? Stream.of() : Stream.of("--count", 3);
        return CommandLineRun.of(Stream.concat(Stream.concat(Stream.of("calibrate", "--model", model, "--images", images,
                "--out", target), count), Arrays.stream(more)).toArray());
    }

    private static JsonNode json(CommandLineRun run) throws IOException {
        run.succeeded();
        assertEquals(1, run.out().lines().count(), run.out());
        return new JsonMapper().readTree(run.out());
    }
}
