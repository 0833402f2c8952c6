package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.calibrate.SearchMode;
import io.github.ptq4vit.calibrate.SearchTrace;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * How often the progressive search ends on the exhaustive choice, and what it loses when not. Also what the threads are
 * busy with in an exhaustive search.
 *
 * <p>Arguments: model file, image folder, number of images, presets and bits such as {@code ptq4vit:8 ptq4vit:6 base:8}.
 * Searches of a layer are compared up to the first in which a choice differs, since the later ones start elsewhere.
 */
public final class SearchComparison {
    private SearchComparison() {
    }

    /** Runs it. */
    public static void main(String[] args) {
        VisionTransformer model = ModelReader.read(Path.of(args[0]), OptionalInt.empty());
        CalibrationImages images = images(Path.of(args[1]), Integer.parseInt(args[2]), model.config().imageSize());
        for (String run : List.of(args).subList(3, args.length)) {
            String[] parts = run.split(":");
            int bits = Integer.parseInt(parts[1]);
            CalibrationConfig config = CalibrationConfig.preset(parts[0], new BitWidths(bits, bits));
            try (Backend backend = Backends.open("auto")) {
                Calibrator calibrator = Calibrator.of(model).on(backend);
                CalibrationResult exhaustive = calibrator.config(config.withSearch(SearchMode.EXHAUSTIVE)).run(images);
                breakdown(run, backend, exhaustive.seconds());
                CalibrationResult progressive = calibrator.config(config.withSearch(SearchMode.PROGRESSIVE)).run(images);
                report(run, exhaustive, progressive);
            }
        }
    }

    /** Shares of all threads' time, the network's passes included in that. */
    private static void breakdown(String run, Backend backend, double seconds) {
        double available = seconds * backend.device().workers();
        String shares = backend.scoringSeconds().entrySet().stream()
                .map(e -> String.format(Locale.ROOT, "%s %.1f %%", e.getKey(), 100 * e.getValue() / available))
                .collect(Collectors.joining(", "));
        System.out.printf(Locale.ROOT, "%s, exhaustive: %.1f s on %d threads, of their time: %s%n", run, seconds,
                backend.device().workers(), shares);
    }

    private static void report(String run, CalibrationResult exhaustive, CalibrationResult progressive) {
        int choices = 0;
        int same = 0;
        double worst = 0;
        String worstSearch = "none";
        Set<String> diverged = new HashSet<>();
        for (int i = 0; i < exhaustive.traces().size(); i++) {
            SearchTrace all = exhaustive.traces().get(i);
            SearchTrace some = progressive.traces().get(i);
            if (diverged.contains(all.layer())) {
                continue;
            }
            for (int group = 0; group < all.chosen().length; group++) {
                choices++;
                if (all.chosen()[group] == some.chosen()[group]) {
                    same++;
                    continue;
                }
                diverged.add(all.layer());
                double loss = all.losses()[some.chosen()[group]][group] / all.loss(group) - 1;
                if (loss > worst) {
                    worst = loss;
                    worstSearch = all.layer() + " round " + all.round() + " " + all.operand() + " group " + group;
                }
            }
        }
        System.out.printf(Locale.ROOT, "%s: %d of %d choices are the exhaustive ones (%.2f %%); the largest loss of score is %.4f %%"
                + " (%s); %.1f s instead of %.1f s%n", run, same, choices, 100.0 * same / choices, 100 * worst, worstSearch,
                progressive.seconds(), exhaustive.seconds());
    }

    static CalibrationImages images(Path folder, int count, int side) {
        ImageFolder files = ImageFolder.open(folder);
        ImageTransform transform = ImageTransform.timm(side, 0.9, ImageTransform.HALF, ImageTransform.HALF);
        List<String> ids = new ArrayList<>();
        float[] pixels = new float[count * transform.elements()];
        try (ImageLoader loader = ImageLoader.first(count, files, files.shuffled(0), transform, 8,
                Runtime.getRuntime().availableProcessors())) {
            while (loader.hasNext()) {
                Batch batch = loader.next();
                float[] part = batch.pixels().toArray();
                System.arraycopy(part, 0, pixels, ids.size() * transform.elements(), part.length);
                ids.addAll(batch.ids());
            }
        }
        return new CalibrationImages(ids, Tensor.of(Shape.of(count, 3, side, side), pixels));
    }
}
