package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;

/**
 * The recipe for few bits: the float32 network is transformed first, activations get the grids that fit them, and weights are
 * rounded with error feedback, one scale an output channel. Nothing is trained.
 *
 * @param preset name of the preset: {@code best}
 * @param bits bit widths
 * @param draws backward passes of the Fisher information, 1 to 8
 * @param activations where the scales of activations come from; those of softmax outputs are static
 * @param ingredients the parts that take part
 * @param seed of everything random
 */
public record BestConfig(String preset, BitWidths bits, int draws, ActivationScales activations,
        Set<Ingredient> ingredients, long seed) implements Recipe {

    public BestConfig {
        if (draws < 1 || draws > 8) {
            throw new IllegalArgumentException("The number of Fisher draws must be from 1 to 8, for example 2, not " + draws);
        }
        ingredients = Set.copyOf(ingredients);
    }

    /** All ingredients. */
    public static BestConfig of(BitWidths bits) {
        return new BestConfig("best", bits, 2, ActivationScales.STATIC, EnumSet.allOf(Ingredient.class), 0);
    }

    /** The same without some ingredients. */
    public BestConfig without(Set<Ingredient> some) {
        EnumSet<Ingredient> kept = EnumSet.allOf(Ingredient.class);
        kept.retainAll(ingredients);
        kept.removeAll(some);
        return new BestConfig(preset, bits, draws, activations, kept, seed);
    }

    @Override
    public BestConfig withSeed(long other) {
        return new BestConfig(preset, bits, draws, activations, ingredients, other);
    }

    /** The same with another number of backward passes. */
    public BestConfig withDraws(int other) {
        return new BestConfig(preset, bits, other, activations, ingredients, seed);
    }

    /** The same with other scales of activations. */
    public BestConfig withActivations(ActivationScales other) {
        return new BestConfig(preset, bits, draws, other, ingredients, seed);
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
    public LayerQuantization quantization(Calibrating calibrating) {
        return new BestQuantization(calibrating, this);
    }
}
