package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.calibrate.BestConfig;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.image.ImageTransform;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Weights and images in, a quantised model out. */
@Command(name = "calibrate", mixinStandardHelpOptions = true, versionProvider = Main.Version.class, sortOptions = false,
        description = "Quantise a model with the help of some images.")
final class CalibrateCommand implements Callable<Integer> {
    /** Below this many images a class token has too few rows to estimate second moments from. */
    private static final int FEW_IMAGES = 8;

    @Option(names = "--model", paramLabel = "PATH", required = true,
            description = {"Weights as timm, Hugging Face or torchvision have them: a file (.safetensors,",
                ".pth, .bin), the index of several, or the folder that they are in."})
    private Path model;

    @Mixin
    private ImageOptions images;

    @Option(names = "--count", paramLabel = "N", defaultValue = "32",
            description = "How many of the images to look at (default: ${DEFAULT-VALUE}).")
    private int count;

    @Mixin
    private CalibrationOptions calibration;

    @Mixin
    private BitOptions bits;

    @Mixin
    private ModelOptions modelOptions;

    @Option(names = "--out", paramLabel = "DIR", description = "Folder to write (default: MODEL-PRESET-wBaB here).")
    private Optional<Path> out = Optional.empty();

    @Option(names = "--resume", description = "Continue an interrupted calibration in the folder.")
    private boolean resume;

    @Option(names = "--force", description = "Replace a quantised model in the folder.")
    private boolean force;

    @Option(names = "--timings", description = "Also print where the time went.")
    private boolean timings;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() {
        common.check();
        Recipe config = calibration.recipe(common);
        bits.check(config, common);
        if (count < 1) {
            throw common.wrong("The number of images must be at least 1, for example 32, not " + count);
        }
        if (resume && force) {
            throw common.wrong("--resume continues what is there, --force replaces it; choose one");
        }
        Existing existing = resume ? Existing.RESUME : force ? Existing.REPLACE : Existing.REFUSE;
        Path folder = out.orElseGet(() -> Path.of(defaultName(config)));
        try (OutputFolder output = OutputFolder.open(folder, existing)) {
            if (output.state() == OutputFolder.State.COMPLETE) {
                complete(folder);
            } else {
                calibrate(config, output);
            }
        }
        return 0;
    }

    private void calibrate(Recipe usual, OutputFolder output) {
        WeightsWatch weights = WeightsWatch.of(model);
        ModelSource.Plain source = ModelSource.plain(model, modelOptions.read(common));
        Recipe config = bits.applied(usual, source.config(), common);
        ImageTransform transform = images.transform(source::transform, source.config(), common);
        if (config.preset().equals("best") && count < FEW_IMAGES) {
            Console.note("best rounds weights to fit the images: with fewer than " + FEW_IMAGES + " it fits these at the cost of others");
        }
        CalibrationJob job = CalibrationJob.prepare(source, weights, transform, images.folder(), count, config.seed(),
                common.decoders());
        try (Backend backend = common.open()) {
            CalibrationResult result = job.run(backend, config, output);
            print(source, result, job.divergence(backend, result), backend.device().backend(), output.path());
        }
    }

    private String defaultName(Recipe config) {
        return String.format(Locale.ROOT, "%s-%s-w%da%d", ModelSource.name(model), config.preset(), config.bits().weights(),
                config.bits().activations());
    }

    /** Names the layer that costs more than all others together. */
    private static void warn(CalibrationResult result) {
        double all = result.records().stream().mapToDouble(record -> record.cost().all()).sum();
        result.records().forEach(record -> {
            String layer = record.layer();
            double cost = record.cost().all();
            if (cost > all / 2) {
                Console.note(String.format(Locale.ROOT, "%s alone causes %.0f %% of what is lost, by the Hessian metric;"
                        + " with preset best, --keep %s=8 gives it more bits", layer, 100 * cost / all, layer));
            }
        });
    }

    private static String bits(Recipe config) {
        return config instanceof BestConfig best && !best.plan().exceptions().isEmpty() ? "bit widths by layer" : config.bits().toString();
    }

    private void complete(Path folder) {
        int layers = Checkpoint.read(folder).model().layers().size();
        Console.note(folder + ": is complete, there is nothing to continue");
        if (common.json()) {
            Console.json(Console.object().put("layers", layers).put("seconds", 0.0).put("search_seconds", 0.0)
                    .put("peak_memory_bytes", Console.peakMemory()).put("backend", "none").put("out", folder.toString()));
        }
    }

    private void print(ModelSource source, CalibrationResult result, double divergence, String backend, Path folder) {
        if (common.json()) {
            ObjectNode json = Console.object().put("layers", result.layers().size()).put("seconds", result.seconds())
                    .put("search_seconds", result.searchSeconds()).put("peak_memory_bytes", Console.peakMemory())
                    .put("backend", backend).put("out", folder.toString()).put("images", result.imageIds().size())
                    .put("divergence", divergence);
            if (timings) {
                ObjectNode stages = json.putObject("timings");
                result.timings().stages().forEach(stage -> stages.put(stage.getKey(), stage.getValue()));
                ObjectNode scoring = json.putObject("scoring_thread_seconds");
                result.timings().scoring().forEach(scoring::put);
            }
            Console.json(json);
            return;
        }
        Recipe config = result.recipe();
        warn(result);
        Console.result("%s: %d layers quantised (%s, %s) on %d images in %.1f s, %.1f s of it in searches; peak memory %.2f GB",
                source.name(), result.layers().size(), config.preset(), bits(config), result.imageIds().size(),
                result.seconds(), result.searchSeconds(), Console.peakMemory() / 1e9);
        Console.result("mean divergence from float32 on these images: %.4f", divergence);
        Console.result("written to %s", folder);
        if (timings) {
            for (Map.Entry<String, Double> stage : result.timings().stages()) {
                Console.result("%-40s %9.2f s %5.1f %%", stage.getKey(), stage.getValue(),
                        100 * stage.getValue() / result.seconds());
            }
            double busy = result.timings().scoring().values().stream().mapToDouble(Double::doubleValue).sum();
            result.timings().scoring().forEach((kind, seconds) -> Console.result("%-40s %9.2f s %5.1f %% of the device's work",
                    "  " + kind, seconds, 100 * seconds / busy));
        }
    }
}
