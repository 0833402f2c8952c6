package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.artifact.OutputLock;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.evaluate.Accuracy;
import io.github.ptq4vit.evaluate.Evaluator;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.quant.BitWidths;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The whole way on the example that comes along. */
@Command(name = "quickstart", mixinStandardHelpOptions = true, versionProvider = Main.Version.class, sortOptions = false,
        description = "Quantise the small model in examples/characters in several ways and compare them.")
final class QuickstartCommand implements Callable<Integer> {
    private static final int BATCH = 64;
    private static final List<String> PRESETS = List.of("base", "ptq4vit", "best");
    private static final List<Integer> BITS = List.of(8, 6, 4);

    @Option(names = "--count", paramLabel = "N", defaultValue = "32",
            description = "How many images to calibrate on (default: ${DEFAULT-VALUE}).")
    private int count;

    @Option(names = "--out", paramLabel = "DIR", description = "Keep the quantised models in this new folder.")
    private Optional<Path> out = Optional.empty();

    @Mixin
    private CommonOptions common;

    private record Row(String preset, int bits, Accuracy accuracy, double seconds) {
    }

    @Override
    public Integer call() {
        common.check();
        if (count < 1) {
            throw common.wrong("The number of images must be at least 1, for example 32, not " + count);
        }
        if (out.isPresent() && Files.exists(out.get())) {
            throw new ArtifactException(out.get() + ": is there already; choose another place");
        }
        Path example = Path.of(System.getProperty("ptq4vit.home", "")).resolve("examples").resolve("characters");
        if (!Files.exists(example.resolve("model.safetensors"))) {
            throw new ModelException("The example is not at " + example.toAbsolutePath()
                    + "; run ptq4vit from a complete checkout of its repository");
        }
        WeightsWatch weights = WeightsWatch.of(example);
        ModelSource.Plain source = ModelSource.plain(example, ReadOptions.NONE);
        ImageFolder folder = ImageFolder.open(example.resolve("validation"));
        Labels labels = Labels.read(folder.root().resolve("labels.txt"), folder, source.config().classes());
        CalibrationJob job = CalibrationJob.prepare(source, weights, source.transform(), example.resolve("calibration"), count, 0,
                common.decoders());
        if (out.isPresent()) {
            try (OutputLock lock = OutputLock.inFolder(out.get())) {
                run(source, job, folder, labels, lock.output());
            }
        } else {
            try (TemporaryFolder temporary = TemporaryFolder.make()) {
                run(source, job, folder, labels, temporary.path());
            }
        }
        return 0;
    }

    private void run(ModelSource.Plain source, CalibrationJob job, ImageFolder folder, Labels labels, Path target) {
        try (Backend backend = common.open(); Classifier reference = source.on(backend)) {
            Console.note("model: " + source.name() + ", " + source.config().units().size() + " blocks, tokens of length "
                    + source.config().dim() + "; calibrated on " + count + " images, evaluated on " + folder.size());
            List<Row> rows = new ArrayList<>();
            for (String preset : PRESETS) {
                for (int bits : BITS) {
                    Row row = row(job, backend, reference, target, preset, bits, folder, labels, source);
                    if (!common.json()) {
                        print(row, rows.isEmpty());
                    }
                    rows.add(row);
                }
            }
            if (common.json()) {
                Console.json(json(rows, backend.device().backend()));
            } else {
                Console.result("%s", out.map(path -> "The quantised models are in " + path)
                        .orElse("--out DIR keeps the quantised models"));
            }
        }
    }

    private Row row(CalibrationJob job, Backend backend, Classifier reference, Path target, String preset, int bits,
            ImageFolder folder, Labels labels, ModelSource source) {
        Path quantized = target.resolve(String.format(Locale.ROOT, "%s-w%da%d", preset, bits, bits));
        CalibrationResult result;
        try (OutputFolder output = OutputFolder.open(quantized, Existing.REFUSE)) {
            result = job.run(backend, Recipe.preset(preset, new BitWidths(bits, bits)), output);
        }
        try (Classifier classifier = Classifier.of(backend, Checkpoint.read(quantized).model());
                ImageLoader loader = ImageLoader.all(folder, folder.ids(), source.transform(), BATCH, common.decoders())) {
            return new Row(preset, bits, Evaluator.of(classifier).against(reference).run(loader, labels, done -> {
            }), result.seconds());
        }
    }

    private static void print(Row row, boolean first) {
        if (first) {
            Console.result("%-8s %-5s %9s %9s %10s %14s %12s", "preset", "bits", "top-1", "top-5", "agreement", "to float",
                    "calibration");
            Console.result("%-8s %-5s %9s %9s", "float", "", Console.percent(floatTop1(row)), Console.percent(floatTop5(row)));
        }
        Console.result("%-8s %-5s %9s %9s %10s %+7.2f points %10.1f s", row.preset, new BitWidths(row.bits, row.bits),
                Console.percent(row.accuracy.top1()), Console.percent(row.accuracy.top5()), Console.percent(agreement(row)),
                difference(row), row.seconds);
    }

    private ObjectNode json(List<Row> rows, String backend) {
        Row any = rows.get(0);
        ObjectNode json = Console.object().put("images", any.accuracy.images()).put("float_top1", floatTop1(any))
                .put("float_top5", floatTop5(any)).put("backend", backend);
        out.ifPresent(path -> json.put("out", path.toString()));
        ArrayNode list = json.putArray("rows");
        rows.forEach(r -> list.addObject().put("preset", r.preset).put("weight_bits", r.bits).put("activation_bits", r.bits)
                .put("top1", r.accuracy.top1()).put("top5", r.accuracy.top5()).put("agreement", agreement(r))
                .put("difference_points", difference(r)).put("calibration_seconds", r.seconds));
        return json;
    }

    private static double floatTop1(Row row) {
        return row.accuracy.fraction(row.accuracy.paired().orElseThrow().referenceTop1Right());
    }

    private static double floatTop5(Row row) {
        return row.accuracy.fraction(row.accuracy.paired().orElseThrow().referenceTop5Right());
    }

    private static double difference(Row row) {
        return 100 * (row.accuracy.top1() - floatTop1(row));
    }

    private static double agreement(Row row) {
        return row.accuracy.fraction(row.accuracy.paired().orElseThrow().agreeing());
    }
}
