package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.TwinRule;
import java.util.Optional;
import java.util.Set;

/**
 * Everything that decides the result of a calibration beside the model and the images.
 *
 * @param preset name of the preset this started from
 * @param bits bit widths
 * @param metric what candidates are compared by
 * @param gradients loss behind the Hessian metric
 * @param draws backward passes of {@link GradientSource#FISHER}, 1 to 8
 * @param twin whether softmax and GELU outputs get twin quantisers; else plain ones
 * @param twinRule how twins decide
 * @param channelwisePatches whether each output channel of the patch embedding has its own scale; else, and with metrics
 *     that compare whole rows (cosine, Pearson), one for all
 * @param alpha smallest candidate, as a multiple of the scale that covers the largest magnitude
 * @param beta end of the candidates, itself never tried
 * @param candidates number of candidates of a search
 * @param rounds alternations between the two operands
 * @param lossCheck whether the loss itself has the last word on layers that make a token massive, where the Hessian metric
 *     cannot judge; see {@link LossCheck}
 * @param search how candidates are visited
 * @param seed of everything random
 * @param extensions what goes beyond the paper
 */
public record CalibrationConfig(String preset, BitWidths bits, Metric metric, GradientSource gradients, int draws,
        boolean twin, TwinRule twinRule, boolean channelwisePatches, double alpha, double beta, int candidates, int rounds,
        boolean lossCheck, SearchMode search, long seed, Set<Extension> extensions) implements Recipe {

    public CalibrationConfig {
        extensions = Set.copyOf(extensions);
        if (draws < 1 || draws > 8) {
            throw new IllegalArgumentException("The number of Fisher draws must be from 1 to 8, for example 2, not " + draws);
        }
        if (!(alpha > 0) || !(beta > alpha)) {
            throw new IllegalArgumentException("Candidates need 0 < alpha < beta, for example 0.01 and 1.2, not " + alpha
                    + " and " + beta);
        }
        if (candidates < 1 || rounds < 1) {
            throw new IllegalArgumentException("At least one candidate and one round are needed, not " + candidates + " and "
                    + rounds);
        }
    }

    /** Base PTQ: uniform quantisers, cosine metric, one round. */
    public static CalibrationConfig base(BitWidths bits) {
        return new CalibrationConfig("base", bits, Metric.COSINE, GradientSource.FISHER, 2, false, TwinRule.FREE, false, 0.5,
                1.2, 100, 1, false, SearchMode.PROGRESSIVE, 0, Set.of());
    }

    /** PTQ4ViT: twin quantisers, Hessian metric, three rounds. */
    public static CalibrationConfig ptq4vit(BitWidths bits) {
        return new CalibrationConfig("ptq4vit", bits, Metric.HESSIAN, GradientSource.FISHER, 2, true, TwinRule.FREE, true, 0.01,
                1.2, 100, 3, true, SearchMode.PROGRESSIVE, 0, Set.of());
    }

    /**
     * A preset by its name.
     *
     * @param name {@code base} or {@code ptq4vit}
     */
    public static CalibrationConfig preset(String name, BitWidths bits) {
        return switch (name) {
            case "base" -> base(bits);
            case "ptq4vit" -> ptq4vit(bits);
            default -> throw new IllegalArgumentException("There is no preset '" + name + "'; there are: base, ptq4vit");
        };
    }

    @Override
    public Optional<LossGradient> loss() {
        return metric.needsGradients() ? Optional.of(new LossGradient(gradients, draws, seed)) : Optional.empty();
    }

    @Override
    public LayerQuantization quantization(Calibrating calibrating) {
        return new LayerCalibration(calibrating, this);
    }

    /** The same with another metric. */
    public CalibrationConfig withMetric(Metric other) {
        return new CalibrationConfig(preset, bits, other, gradients, draws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, rounds, lossCheck, search, seed, extensions);
    }

    /** The same with other gradients. */
    public CalibrationConfig withGradients(GradientSource other, int otherDraws) {
        return new CalibrationConfig(preset, bits, metric, other, otherDraws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, rounds, lossCheck, search, seed, extensions);
    }

    /** The same with another rule of the twins. */
    public CalibrationConfig withTwinRule(TwinRule other) {
        return new CalibrationConfig(preset, bits, metric, gradients, draws, twin, other, channelwisePatches, alpha, beta,
                candidates, rounds, lossCheck, search, seed, extensions);
    }

    /** The same with another number of rounds. */
    public CalibrationConfig withRounds(int other) {
        return new CalibrationConfig(preset, bits, metric, gradients, draws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, other, lossCheck, search, seed, extensions);
    }

    /** The same with another way to visit candidates. */
    public CalibrationConfig withSearch(SearchMode other) {
        return new CalibrationConfig(preset, bits, metric, gradients, draws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, rounds, lossCheck, other, seed, extensions);
    }

    /** The same with or without the loss's last word. */
    public CalibrationConfig withLossCheck(boolean other) {
        return new CalibrationConfig(preset, bits, metric, gradients, draws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, rounds, other, search, seed, extensions);
    }

    /** The same with extensions. */
    public CalibrationConfig withExtensions(Set<Extension> others) {
        return new CalibrationConfig(preset, bits, metric, gradients, draws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, rounds, lossCheck, search, seed, others);
    }

    @Override
    public CalibrationConfig withSeed(long other) {
        return new CalibrationConfig(preset, bits, metric, gradients, draws, twin, twinRule, channelwisePatches, alpha, beta,
                candidates, rounds, lossCheck, search, other, extensions);
    }
}
