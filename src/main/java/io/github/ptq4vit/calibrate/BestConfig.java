package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitPlan;
import io.github.ptq4vit.quant.BitWidths;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The recipe for few bits: the float32 network is transformed first, activations get the grids that fit them, and weights are
 * rounded with error feedback, one scale an output channel. Nothing is trained.
 *
 * @param preset name of the preset: {@code best}
 * @param plan bit widths of the layers
 * @param target what bit widths of layers without an exception in the plan are chosen for; none leaves them as the plan has them
 * @param draws backward passes of the Fisher information, 1 to 8
 * @param activations where the scales of activations come from; those of softmax outputs are static
 * @param ingredients the parts that take part
 * @param seed of everything random
 */
public record BestConfig(String preset, BitPlan plan, Optional<BitTarget> target, int draws, ActivationScales activations,
        Set<Ingredient> ingredients, long seed) implements Recipe {

    public BestConfig {
        if (draws < 1 || draws > 8) {
            throw new IllegalArgumentException("The number of Fisher draws must be from 1 to 8, for example 2, not " + draws);
        }
        ingredients = Set.copyOf(ingredients);
    }

    /** All ingredients. */
    public static BestConfig of(BitWidths bits) {
        return new BestConfig("best", BitPlan.of(bits), Optional.empty(), 2, ActivationScales.STATIC, EnumSet.allOf(Ingredient.class), 0);
    }

    @Override
    public BitWidths bits() {
        return plan.usual();
    }

    /** The same with other bit widths. */
    public BestConfig withPlan(BitPlan other) {
        return new BestConfig(preset, other, target, draws, activations, ingredients, seed);
    }

    /** The same with bit widths chosen for something. */
    public BestConfig withTarget(Optional<BitTarget> other) {
        return new BestConfig(preset, plan, other, draws, activations, ingredients, seed);
    }

    /** The same without some ingredients. */
    public BestConfig without(Set<Ingredient> some) {
        EnumSet<Ingredient> kept = EnumSet.allOf(Ingredient.class);
        kept.retainAll(ingredients);
        kept.removeAll(some);
        return new BestConfig(preset, plan, target, draws, activations, kept, seed);
    }

    @Override
    public BestConfig withSeed(long other) {
        return new BestConfig(preset, plan, target, draws, activations, ingredients, other);
    }

    /** The same with another number of backward passes. */
    public BestConfig withDraws(int other) {
        return new BestConfig(preset, plan, target, other, activations, ingredients, seed);
    }

    /** The same with other scales of activations. */
    public BestConfig withActivations(ActivationScales other) {
        return new BestConfig(preset, plan, target, draws, other, ingredients, seed);
    }

    boolean isDynamic() {
        return activations == ActivationScales.DYNAMIC;
    }

    boolean has(Ingredient ingredient) {
        return ingredients.contains(ingredient);
    }

    @Override
    public Optional<LossGradient> loss() {
        return Optional.of(new LossGradient(GradientSource.FISHER, draws, seed));
    }

    @Override
    public VisionTransformer transformed(VisionTransformer model, Backend backend, CalibrationImages images, Timings timings) {
        return new BestTransforms(this, model, backend, images, timings).transformed();
    }

    @Override
    public Planned planned(VisionTransformer network, Backend backend, CalibrationImages images, Timings timings, Progress progress) {
        if (target.isEmpty()) {
            return new Planned(this, List.of());
        }
        List<LayerCost> costs = LayerCosts.of(network, backend, this, images.first(LayerCosts.IMAGES), timings, progress);
        BitPlanning planning = new BitPlanning(network, plan, costs);
        BitPlan planned = target.get() instanceof BitTarget.MaxDrop drop
                ? new DropPlanning(withTarget(Optional.empty()), network, backend, images, progress).plan(planning, drop)
                : planning.plan(target.get());
        return new Planned(withPlan(planned).withTarget(Optional.empty()), costs);
    }

    @Override
    public CalibrationImages shown(CalibrationImages images) {
        return has(Ingredient.MIRRORED_IMAGES) ? images.withMirrored() : images;
    }

    @Override
    public LayerQuantization quantization(Calibrating calibrating) {
        return new BestQuantization(calibrating, this);
    }
}
