package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.ActivationScales;
import io.github.ptq4vit.calibrate.BestConfig;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.calibrate.Extension;
import io.github.ptq4vit.calibrate.Ingredient;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.evaluate.Ranks;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitPlan;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * What recipes and their ingredients are worth: calibrates each, classifies the validation images, and prints a row with top-1
 * and the mean Kullback-Leibler divergence to the float32 model, for all images and for every second one. Settings are chosen by
 * the even images; the odd ones judge.
 *
 * <pre>Ladder MODEL CALIBRATION_IMAGES IMAGES LABELS BITS SEEDS VARIANTS [COUNT]</pre>
 *
 * COUNT is the number of calibration images, 32 without it.
 *
 * Bits are such as {@code 4/4,4/8}, seeds such as {@code 0,1,2}; variants are names of presets, {@code dynamic} for {@code best}
 * with dynamic activations, {@code best-INGREDIENT} or {@code dynamic-INGREDIENT} for one left out, and {@code each} for all of
 * {@code best}'s; {@code best+NAME=W/A} gives layers of that name other bit widths, as often as wanted; {@code
 * ptq4vit:EXTENSION:...} goes beyond the paper.
 */
public final class Ladder {
    private static final int BATCH = 50;
    private static final ImageTransform.Channels HALF = ImageTransform.HALF;

    private final Backend backend;
    private final VisionTransformer model;
    private final List<Tensor> batches = new ArrayList<>();
    private final List<Tensor> expected = new ArrayList<>();
    private final List<int[]> labels = new ArrayList<>();

    private Ladder(Backend backend, VisionTransformer model, Path images, Path labelFile) {
        this.backend = backend;
        this.model = model;
        ImageFolder folder = ImageFolder.open(images);
        Labels truth = Labels.read(labelFile, folder, model.config().classes());
        ImageTransform transform = ImageTransform.timm(model.config().imageSize(), 1, HALF, HALF).with("resize=none");
        try (ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, BATCH, 2);
                Classifier classifier = Classifier.of(backend, model)) {
            while (loader.hasNext()) {
                Batch batch = loader.next();
                batches.add(batch.pixels());
                labels.add(truth.of(batch.ids()));
                expected.add(classifier.logits(batch.pixels()));
            }
        }
    }

    /** Runs all variants. */
    public static void main(String[] arguments) {
        VisionTransformer model = ModelReader.read(Path.of(arguments[0]), OptionalInt.empty());
        int side = model.config().imageSize();
        ImageTransform transform = ImageTransform.timm(side, 0.9, HALF, HALF);
        int count = arguments.length > 7 ? Integer.parseInt(arguments[7]) : 32;
        try (Backend backend = Backends.open("cpu")) {
            Ladder ladder = new Ladder(backend, model, Path.of(arguments[2]), Path.of(arguments[3]));
            System.out.printf(Locale.ROOT, "%-44s %-6s %4s %8s %9s %9s %9s %9s %7s%n", "recipe", "bits", "seed", "top-1", "KL",
                    "KL even", "KL odd", "top-1 odd", "seconds");
            for (String bits : arguments[4].split(",")) {
                BitWidths widths = widths(bits);
                for (String variant : variants(arguments[6])) {
                    for (String seed : arguments[5].split(",")) {
                        Recipe recipe = ladder.recipe(variant, widths).withSeed(Long.parseLong(seed));
                        ladder.row(variant, recipe, images(Path.of(arguments[1]), transform, recipe.seed(), count));
                    }
                }
            }
        }
    }

    private static List<String> variants(String names) {
        List<String> variants = new ArrayList<>();
        for (String name : names.split(",")) {
            if (name.equals("each")) {
                for (Ingredient ingredient : Ingredient.values()) {
                    variants.add("best-" + ingredient.name().toLowerCase(Locale.ROOT));
                }
            } else {
                variants.add(name);
            }
        }
        return variants;
    }

    private static BitWidths widths(String text) {
        String[] two = text.split("/");
        return new BitWidths(Integer.parseInt(two[0]), Integer.parseInt(two[1]));
    }

    private Recipe recipe(String variant, BitWidths bits) {
        String[] exceptions = variant.split("\\+");
        String[] parts = exceptions[0].split("-");
        if (!parts[0].equals("best") && !parts[0].equals("dynamic")) {
            String[] preset = variant.split(":");
            return CalibrationConfig.preset(preset[0], bits).withExtensions(Arrays.stream(preset).skip(1)
                    .map(name -> Extension.valueOf(name.toUpperCase(Locale.ROOT))).collect(Collectors.toSet()));
        }
        Set<Ingredient> without = EnumSet.noneOf(Ingredient.class);
        for (int i = 1; i < parts.length; i++) {
            without.add(Ingredient.valueOf(parts[i].toUpperCase(Locale.ROOT)));
        }
        Map<String, BitWidths> others = new HashMap<>();
        for (int i = 1; i < exceptions.length; i++) {
            String[] two = exceptions[i].split("=");
            model.config().layersNamed(two[0]).forEach(layer -> others.put(layer.name(), widths(two[1])));
        }
        return BestConfig.of(bits).withPlan(BitPlan.of(bits).with(others)).without(without)
                .withActivations(parts[0].equals("best") ? ActivationScales.STATIC : ActivationScales.DYNAMIC);
    }

    private static CalibrationImages images(Path folder, ImageTransform transform, long seed, int count) {
        ImageFolder images = ImageFolder.open(folder);
        try (ImageLoader loader = ImageLoader.first(count, images, images.shuffled(seed), transform, count, 2)) {
            Batch batch = loader.next();
            return new CalibrationImages(batch.ids(), batch.pixels());
        }
    }

    private void row(String name, Recipe recipe, CalibrationImages images) {
        CalibrationResult result = Calibrator.of(model).on(backend).config(recipe).run(images);
        int[] right = new int[2];
        int[] count = new int[2];
        double[] divergence = new double[2];
        try (Classifier classifier = Classifier.of(backend, new QuantizedModel(result.network(), result.layers()))) {
            int index = 0;
            for (int batch = 0; batch < batches.size(); batch++) {
                Tensor logits = classifier.logits(batches.get(batch));
                for (int i = 0; i < labels.get(batch).length; i++, index++) {
                    right[index % 2] += Ranks.best(logits, i) == labels.get(batch)[i] ? 1 : 0;
                    count[index % 2]++;
                    divergence[index % 2] += Predictions.divergence(expected.get(batch), logits, i);
                }
            }
        }
        int all = IntStream.of(count).sum();
        System.out.printf(Locale.ROOT, "%-44s %-6s %4d %8.2f %9.4f %9.4f %9.4f %9.2f %7.1f%n", name, recipe.bits(), recipe.seed(),
                100.0 * (right[0] + right[1]) / all, (divergence[0] + divergence[1]) / all, divergence[0] / count[0],
                divergence[1] / count[1], 100.0 * right[1] / count[1], result.seconds());
    }
}
