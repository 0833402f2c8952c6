package io.github.ptq4vit.cli;

import io.github.ptq4vit.calibrate.ActivationScales;
import io.github.ptq4vit.calibrate.BestConfig;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.Extension;
import io.github.ptq4vit.calibrate.GradientSource;
import io.github.ptq4vit.calibrate.Ingredient;
import io.github.ptq4vit.calibrate.Metric;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.calibrate.SearchMode;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.TwinRule;
import java.util.Optional;
import java.util.Set;
import picocli.CommandLine.Option;

/** How to calibrate: a preset, and what differs from it. */
final class CalibrationOptions {
    @Option(names = "--preset", paramLabel = "NAME", defaultValue = "ptq4vit",
            description = "base (Base PTQ), ptq4vit, or best (for few bits) (default: ${DEFAULT-VALUE}).")
    private String preset;

    @Option(names = "--w-bits", paramLabel = "BITS", defaultValue = "8", description = "Bits of weights, 2 to 8 (default: 8).")
    private int weightBits;

    @Option(names = "--a-bits", paramLabel = "BITS", defaultValue = "8",
            description = "Bits of activations, 2 to 8 (default: 8).")
    private int activationBits;

    @Option(names = "--metric", paramLabel = "NAME", completionCandidates = Choices.Metrics.class,
            description = "What candidates are compared by: ${COMPLETION-CANDIDATES}.")
    private Optional<Metric> metric = Optional.empty();

    @Option(names = "--gradients", paramLabel = "NAME", completionCandidates = Choices.Gradients.class,
            description = "Loss behind the hessian metric: ${COMPLETION-CANDIDATES}.")
    private Optional<GradientSource> gradients = Optional.empty();

    @Option(names = "--draws", paramLabel = "N", description = "Backward passes of fisher, 1 to 8.")
    private Optional<Integer> draws = Optional.empty();

    @Option(names = "--search", paramLabel = "NAME", completionCandidates = Choices.Searches.class,
            description = "How candidates are visited: ${COMPLETION-CANDIDATES}.")
    private Optional<SearchMode> search = Optional.empty();

    @Option(names = "--rounds", paramLabel = "N", description = "Alternations between the two operands of a layer.")
    private Optional<Integer> rounds = Optional.empty();

    @Option(names = "--twin-rule", paramLabel = "NAME", completionCandidates = Choices.TwinRules.class,
            description = "How twin quantisers decide: ${COMPLETION-CANDIDATES}.")
    private Optional<TwinRule> twinRule = Optional.empty();

    @Option(names = "--no-loss-check", description = "Trust the hessian metric also with layers that make a token massive.")
    private boolean noLossCheck;

    @Option(names = "--extend", paramLabel = "NAME", split = ",", completionCandidates = Choices.Extensions.class,
            description = "What presets base and ptq4vit are to do beyond the paper: ${COMPLETION-CANDIDATES}.")
    private Set<Extension> extensions = Set.of();

    @Option(names = "--without", paramLabel = "NAME", split = ",", completionCandidates = Choices.Ingredients.class,
            description = "Parts of preset best to leave out: ${COMPLETION-CANDIDATES}.")
    private Set<Ingredient> without = Set.of();

    @Option(names = "--activations", paramLabel = "NAME", completionCandidates = Choices.Activations.class,
            description = "Where preset best takes the scales of activations from: ${COMPLETION-CANDIDATES} (rows at run time).")
    private Optional<ActivationScales> activations = Optional.empty();

    @Option(names = "--seed", paramLabel = "N", description = "Of the choice of images and of Fisher draws (default: 0).")
    private Optional<Long> seed = Optional.empty();

    /** The recipe; options out of range are wrong use. */
    Recipe recipe(CommonOptions common) {
        try {
            Recipe recipe = Recipe.preset(preset, new BitWidths(weightBits, activationBits));
            if (recipe instanceof CalibrationConfig config) {
                if (!without.isEmpty() || activations.isPresent()) {
                    throw new IllegalArgumentException("--without and --activations change the preset best, not " + preset);
                }
                return paper(config);
            }
            BestConfig best = ((BestConfig) recipe).without(without);
            if (metric.isPresent() || gradients.isPresent() || search.isPresent() || rounds.isPresent() || twinRule.isPresent()
                    || noLossCheck || !extensions.isEmpty()) {
                throw new IllegalArgumentException("--metric, --gradients, --search, --rounds, --twin-rule, --extend and --no-loss-check"
                        + " change the presets base and ptq4vit, not best, which has --without");
            }
            best = best.withActivations(activations.orElse(best.activations()));
            best = draws.isPresent() ? best.withDraws(draws.get()) : best;
            return seed.isPresent() ? best.withSeed(seed.get()) : best;
        } catch (IllegalArgumentException e) {
            throw common.wrong(e.getMessage());
        }
    }

    private CalibrationConfig paper(CalibrationConfig preset) {
        CalibrationConfig config = preset;
        if (metric.isPresent()) {
            config = config.withMetric(metric.get());
        }
        if (gradients.isPresent() || draws.isPresent()) {
            config = config.withGradients(gradients.orElse(config.gradients()), draws.orElse(config.draws()));
        }
        if (search.isPresent()) {
            config = config.withSearch(search.get());
        }
        if (rounds.isPresent()) {
            config = config.withRounds(rounds.get());
        }
        if (twinRule.isPresent()) {
            config = config.withTwinRule(twinRule.get());
        }
        config = config.withExtensions(extensions);
        config = config.withLossCheck(config.lossCheck() && !noLossCheck);
        return seed.isPresent() ? config.withSeed(seed.get()) : config;
    }
}
