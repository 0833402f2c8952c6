package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.Fingerprints;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.artifact.OutputLock;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.evaluate.Comparison;
import io.github.ptq4vit.evaluate.Comparison.Tally;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.quant.BitWidths;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The paper's table for one model: several configurations, calibrated and evaluated beside the float32 model. */
@Command(name = "compare", mixinStandardHelpOptions = true, versionProvider = Main.Version.class, sortOptions = false,
        description = {"Quantise a model in several ways and measure all of them on the same images, for example the",
            "validation images of ImageNet. Calling it again continues where it was interrupted."})
final class CompareCommand implements Callable<Integer> {
    private static final int BATCH = 32;
    /** Images between two records of the counts. */
    private static final int PART = 512;

    @Option(names = "--model", paramLabel = "PATH", required = true, description = "Float32 weights, as for calibrate.")
    private Path model;

    @Mixin
    private ImageOptions images;

    @Option(names = "--count", paramLabel = "N", defaultValue = "32",
            description = "How many of them to calibrate on (default: ${DEFAULT-VALUE}).")
    private int count;

    @Option(names = "--eval", paramLabel = "DIR", required = true, description = "Images to evaluate on.")
    private Path evaluation;

    @Mixin
    private LabelOptions labels;

    @Option(names = "--eval-transform", paramLabel = "SETTINGS",
            description = "As --transform, for the images to evaluate on alone (default: as for calibration).")
    private Optional<String> evaluationSettings = Optional.empty();

    @Option(names = "--eval-resize", paramLabel = "PIXELS",
            description = "As --resize, for the images to evaluate on alone; none for images that are cropped already.")
    private Optional<String> evaluationResize = Optional.empty();

    @Option(names = "--presets", paramLabel = "NAMES", split = ",", defaultValue = "base,ptq4vit",
            description = "Which to compare (default: ${DEFAULT-VALUE}).")
    private List<String> presets;

    @Option(names = "--bits", paramLabel = "BITS", split = ",", defaultValue = "8,6",
            description = "Of weights and activations, each for every preset (default: ${DEFAULT-VALUE}).")
    private List<Integer> bits;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "0",
            description = "Of the choice of images and of Fisher draws (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR",
            description = "Folder of the quantised models and the counts (default: MODEL-comparison).")
    private Optional<Path> out = Optional.empty();

    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() {
        common.check();
        List<Recipe> configs = configs();
        if (count < 1) {
            throw common.wrong("The number of images must be at least 1, for example 32, not " + count);
        }
        Path target = out.orElseGet(() -> Path.of(ModelSource.name(model) + "-comparison"));
        try (OutputLock lock = OutputLock.inFolder(target)) {
            compare(configs, lock.output());
        }
        return 0;
    }

    private void compare(List<Recipe> configs, Path target) {
        WeightsWatch weights = WeightsWatch.of(model);
        ModelSource.Plain source = ModelSource.plain(model, modelOptions.read(common));
        ImageTransform transform = images.transform(source::transform, source.config(), common);
        ImageTransform evaluated = ImageOptions.changed(transform, evaluationSettings, evaluationResize, source.config(), common);
        if (!evaluated.equals(transform)) {
            Console.note("transform for evaluation: " + evaluated);
        }
        ImageFolder folder = ImageFolder.open(evaluation);
        int classes = source.config().classes();
        Labels truth = labels.labels(folder, classes);
        CalibrationJob job = CalibrationJob.prepare(source, weights, transform, images.folder(), count, seed, common.decoders());
        try (Backend backend = common.open()) {
            for (Recipe config : configs) {
                calibrate(job, backend, config, target.resolve(name(config)));
            }
            List<Classifier> models = new ArrayList<>();
            try {
                models.add(source.on(backend));
                for (Recipe config : configs) {
                    models.add(Classifier.of(backend, Checkpoint.read(target.resolve(name(config))).model()));
                }
                ComparisonFile file = new ComparisonFile(target, settings(job, evaluated, folder, truth, configs));
                print(source, configs, evaluate(models, file, folder, truth, evaluated), backend.device().backend(), target);
            } finally {
                models.forEach(Classifier::close);
            }
        }
    }

    private List<Recipe> configs() {
        List<Recipe> configs = new ArrayList<>();
        try {
            for (String preset : presets) {
                for (int width : bits) {
                    configs.add(Recipe.preset(preset, new BitWidths(width, width)).withSeed(seed));
                }
            }
        } catch (IllegalArgumentException e) {
            throw common.wrong(e.getMessage());
        }
        if (configs.stream().map(CompareCommand::name).distinct().count() < configs.size()) {
            throw common.wrong("--presets or --bits names something twice");
        }
        return configs;
    }

    private static String name(Recipe config) {
        return String.format(Locale.ROOT, "%s-w%da%d", config.preset(), config.bits().weights(), config.bits().activations());
    }

    /** Calibrates, or continues; what is complete stays, if it was made of the same. */
    private static void calibrate(CalibrationJob job, Backend backend, Recipe config, Path folder) {
        try (OutputFolder output = OutputFolder.open(folder, Existing.RESUME)) {
            if (output.state() == OutputFolder.State.COMPLETE) {
                job.check(Checkpoint.read(folder), config, folder);
                Console.note(folder + ": is there already");
            } else {
                job.run(backend, config, output);
            }
        }
    }

    private static String settings(CalibrationJob job, ImageTransform transform, ImageFolder folder, Labels truth,
            List<Recipe> configs) {
        List<String> named = folder.ids().stream().map(id -> id + " " + truth.of(id)).toList();
        return String.join("; ", "configurations " + configs.stream().map(CompareCommand::name).toList(),
                "calibration " + job.fingerprint(), "transform " + transform, "images and labels " + Fingerprints.ofIds(named));
    }

    private ComparisonFile.State evaluate(List<Classifier> models, ComparisonFile file, ImageFolder folder, Labels truth,
            ImageTransform transform) {
        ComparisonFile.State state = file.read(models.size(), folder.size());
        if (state.done() > 0) {
            Console.note("continued after " + state.done() + " of " + folder.size() + " images");
        }
        try (Bar bar = new Bar("evaluate", folder.size())) {
            while (state.done() < folder.size()) {
                List<String> part = folder.ids().subList(state.done(), Math.min(folder.size(), state.done() + PART));
                Comparison comparison = new Comparison(models, state.tallies());
                try (ImageLoader loader = ImageLoader.all(folder, part, transform, BATCH, common.decoders())) {
                    while (loader.hasNext()) {
                        Batch batch = loader.next();
                        comparison.add(batch.pixels(), truth.of(batch.ids()));
                    }
                    state = new ComparisonFile.State(state.done() + part.size(), state.skipped() + loader.skipped().size(),
                            comparison.tallies());
                }
                file.write(state);
                bar.to(state.done(), folder.size(), "");
            }
        }
        return state;
    }

    private void print(ModelSource.Plain source, List<Recipe> configs, ComparisonFile.State state, String backend,
            Path target) {
        Optional<KnownModel.Paper> paper = source.paperModel().map(KnownModel::paper);
        Tally reference = state.tallies().get(0);
        double floats = reference.fraction(reference.top1());
        if (common.json()) {
            Console.json(json(configs, state, paper, backend, target));
            return;
        }
        Console.result("%-8s %-5s %9s %9s %10s %14s %8s %14s", "preset", "bits", "top-1", "top-5", "agreement", "to float",
                "paper", "to paper");
        Console.result("%-8s %-5s %9s %9s %10s %14s %s", "float", "", Console.percent(floats),
                Console.percent(reference.fraction(reference.top5())), "", "",
                paper(paper.map(KnownModel.Paper::floats), floats));
        for (int i = 0; i < configs.size(); i++) {
            Recipe config = configs.get(i);
            Tally t = state.tallies().get(i + 1);
            double top1 = t.fraction(t.top1());
            Console.result("%-8s %-5s %9s %9s %10s %+7.2f points %s", config.preset(), config.bits(), Console.percent(top1),
                    Console.percent(t.fraction(t.top5())), Console.percent(t.fraction(t.agreeing())), 100 * (top1 - floats),
                    paper(figure(paper, config), top1));
        }
        Console.result("%d images, %d damaged ones left out; everything is in %s", reference.images(), state.skipped(), target);
        if (paper.isEmpty()) {
            Console.result("the paper has no figures for this model; if it is one of the paper's, name it with --arch");
        }
    }

    private static String paper(Optional<Double> figure, double top1) {
        return figure.map(f -> String.format(Locale.ROOT, "%8.2f %+7.2f points", f, 100 * top1 - f)).orElse("");
    }

    private static Optional<Double> figure(Optional<KnownModel.Paper> paper, Recipe config) {
        return paper.flatMap(p -> p.top1(config.preset(), config.bits().weights(), config.bits().activations()));
    }

    private static ObjectNode json(List<Recipe> configs, ComparisonFile.State state,
            Optional<KnownModel.Paper> paper, String backend, Path target) {
        Tally reference = state.tallies().get(0);
        ObjectNode json = Console.object().put("images", reference.images()).put("skipped", state.skipped())
                .put("float_top1", reference.fraction(reference.top1())).put("float_top5", reference.fraction(reference.top5()))
                .put("backend", backend).put("out", target.toString());
        paper.ifPresent(p -> json.put("paper_float_top1", p.floats() / 100));
        ArrayNode rows = json.putArray("rows");
        for (int i = 0; i < configs.size(); i++) {
            Recipe config = configs.get(i);
            Tally t = state.tallies().get(i + 1);
            ObjectNode row = rows.addObject().put("preset", config.preset()).put("weight_bits", config.bits().weights())
                    .put("activation_bits", config.bits().activations()).put("top1", t.fraction(t.top1()))
                    .put("top5", t.fraction(t.top5())).put("agreement", t.fraction(t.agreeing()))
                    .put("difference_points", 100 * (t.fraction(t.top1()) - reference.fraction(reference.top1())));
            figure(paper, config).ifPresent(f -> row.put("paper_top1", f / 100));
        }
        return json;
    }
}
