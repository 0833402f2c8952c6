package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitPlan;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/** Finds the fewest bits on average that lose no more than wanted, by calibrating and measuring. */
final class DropPlanning {
    /** Averages that are tried differ by a quarter of a bit. */
    private static final int STEPS_PER_BIT = 4;

    private final BestConfig config;
    private final VisionTransformer network;
    private final Backend backend;
    private final CalibrationImages images;
    private final Progress progress;
    /** What the float32 network says of the images. */
    private final Tensor expected;

    /**
     * @param config without a target
     * @param network transformed
     */
    DropPlanning(BestConfig config, VisionTransformer network, Backend backend, CalibrationImages images, Progress progress) {
        this.config = config;
        this.network = network;
        this.backend = backend;
        this.images = images;
        this.progress = progress;
        try (Classifier classifier = Classifier.of(backend, network)) {
            this.expected = classifier.logits(images.pixels());
        }
    }

    /**
     * Bisects averages, taking it that more bits lose less.
     *
     * @throws CalibrationException if even the most bits lose more
     */
    BitPlan plan(BitPlanning planning, BitTarget.MaxDrop target) {
        int fails = BitWidths.MIN * STEPS_PER_BIT - 1;
        int holds = BitWidths.MAX * STEPS_PER_BIT;
        double most = drop(planning, holds);
        if (most > target.points()) {
            throw new CalibrationException(String.format(Locale.ROOT, "No bit widths reach the target of %s; %d bits lose %.2f points",
                    target, BitWidths.MAX, most));
        }
        while (holds - fails > 1) {
            int middle = (fails + holds) / 2;
            if (drop(planning, middle) <= target.points()) {
                holds = middle;
            } else {
                fails = middle;
            }
        }
        return plan(planning, holds);
    }

    private static BitPlan plan(BitPlanning planning, int steps) {
        return planning.plan(new BitTarget.AverageBits((double) steps / STEPS_PER_BIT));
    }

    private double drop(BitPlanning planning, int steps) {
        BestConfig trial = config.withPlan(plan(planning, steps));
        CalibrationResult result = Calibrator.of(network).on(backend).config(trial).network(Optional.of(network))
                .progress((step, done, total) -> progress.advanced("trial at " + (double) steps / STEPS_PER_BIT + " bits", done, total))
                .run(images);
        try (Classifier quantized = Classifier.of(backend, network, result.layers())) {
            Tensor found = quantized.logits(images.pixels());
            return 100 * IntStream.range(0, images.ids().size()).mapToDouble(i -> Predictions.expectedDrop(expected, found, i)).average()
                    .orElseThrow();
        }
    }
}
