package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.evaluate.Accuracy;
import io.github.ptq4vit.evaluate.Evaluator;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.ReadOptions;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** How often a model is right. */
@Command(name = "evaluate", mixinStandardHelpOptions = true, versionProvider = Main.Version.class, sortOptions = false,
        description = "Measure the accuracy of a model, float32 or quantised.")
final class EvaluateCommand implements Callable<Integer> {
    private static final int BATCH = 32;

    @Option(names = "--model", paramLabel = "PATH", required = true,
            description = "A quantised folder, or float32 weights.")
    private Path model;

    @Mixin
    private ImageOptions images;

    @Mixin
    private LabelOptions labels;

    @Option(names = "--against", paramLabel = "PATH", description = "A second model, usually float32, to compare with image by image.")
    private Optional<Path> against = Optional.empty();

    @Option(names = "--reproducible",
            description = "Logits that are the same, to the last bit, with every backend; slower on a processor.")
    private boolean reproducible;

    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() {
        common.check();
        ReadOptions read = modelOptions.read(common);
        ModelSource source = ModelSource.read(model, read);
        Optional<ModelSource> reference = against.map(path -> ModelSource.read(path, read.forAnotherFile()));
        ImageTransform transform = images.transform(source::transform, source.config(), common);
        ImageFolder folder = ImageFolder.open(images.folder());
        int classes = source.config().classes();
        Labels truth = labels.labels(folder, classes);
        try (Backend backend = common.open(); Classifier classifier = classifier(source, backend)) {
            if (reference.isEmpty()) {
                run(source, Evaluator.of(classifier), folder, truth, transform, backend.device().backend());
            } else {
                try (Classifier other = classifier(reference.get(), backend)) {
                    run(source, Evaluator.of(classifier).against(other), folder, truth, transform,
                            backend.device().backend());
                }
            }
        }
        return 0;
    }

    private Classifier classifier(ModelSource source, Backend backend) {
        return source.on(reproducible ? backend.reproducible() : backend);
    }

    private void run(ModelSource source, Evaluator evaluator, ImageFolder folder, Labels truth, ImageTransform transform,
            String backend) {
        long start = System.nanoTime();
        try (ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, BATCH, common.decoders());
                Bar bar = new Bar("evaluate", folder.size())) {
            Accuracy accuracy = evaluator.run(loader, truth, done -> bar.to(done, folder.size(), ""));
            double seconds = (System.nanoTime() - start) / 1e9;
            int skipped = loader.skipped().size();
            if (common.json()) {
                Console.json(json(accuracy, skipped, seconds, backend));
            } else {
                print(source, accuracy, skipped, seconds);
            }
        }
    }

    static ObjectNode json(Accuracy a, int skipped, double seconds, String backend) {
        ObjectNode json = Console.object().put("images", a.images()).put("top1", a.top1()).put("top5", a.top5());
        a.paired().ifPresent(p -> json.put("agreement", a.fraction(p.agreeing()))
                .put("divergence", p.divergence())
                .put("float_top1", a.fraction(p.referenceTop1Right())).put("float_top5", a.fraction(p.referenceTop5Right()))
                .put("both_right", a.fraction(p.bothRight())).put("only_float_right", a.fraction(p.onlyReferenceRight()))
                .put("only_quantized_right", a.fraction(p.onlyModelRight())));
        return json.put("images_per_second", a.imagesPerSecond()).put("seconds", seconds).put("skipped", skipped)
                .put("backend", backend);
    }

    private void print(ModelSource source, Accuracy a, int skipped, double seconds) {
        Console.result("%-40s %9s %9s", "", "top-1", "top-5");
        Console.result("%-40s %9s %9s", source.name(), Console.percent(a.top1()), Console.percent(a.top5()));
        a.paired().ifPresent(p -> {
            Console.result("%-40s %9s %9s", ModelSource.name(against.orElseThrow()),
                    Console.percent(a.fraction(p.referenceTop1Right())), Console.percent(a.fraction(p.referenceTop5Right())));
            Console.result("agreement %s, mean divergence %.5f; both right %d, only the second model right %d, only the first %d of %d images",
                    Console.percent(a.fraction(p.agreeing())), p.divergence(), p.bothRight(), p.onlyReferenceRight(), p.onlyModelRight(),
                    a.images());
        });
        Console.result("%d images in %.1f s, %.1f a second in the forward pass; %d damaged images left out", a.images(),
                seconds, a.imagesPerSecond(), skipped);
    }
}
