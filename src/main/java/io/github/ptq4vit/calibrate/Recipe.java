package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import java.util.List;
import java.util.Optional;

/** Everything that decides the result of a calibration beside the model and the images. Its components are its settings. */
public sealed interface Recipe permits CalibrationConfig, BestConfig {

    /** Name of the preset this started from. */
    String preset();

    /** Bit widths of most layers. */
    BitWidths bits();

    /** Of everything random. */
    long seed();

    /** The same with another seed. */
    Recipe withSeed(long seed);

    /** The loss whose gradients weigh errors; none if nothing is weighed. */
    Optional<LossGradient> loss();

    /**
     * The float32 network to quantise: the model itself, or one that computes the same function with weights that are easier to
     * quantise.
     */
    default VisionTransformer transformed(VisionTransformer model, Backend backend, CalibrationImages images, Timings timings) {
        return model;
    }

    /**
     * A recipe with bit widths for every layer.
     *
     * @param costs of all layers, where they were estimated
     */
    record Planned(Recipe recipe, List<LayerCost> costs) {
    }

    /**
     * This recipe with bit widths for every layer, where they depend on the network and on the images.
     *
     * @param network the one to quantise
     */
    default Planned planned(VisionTransformer network, Backend backend, CalibrationImages images, Timings timings, Progress progress) {
        return new Planned(this, List.of());
    }

    /** The images whose layers {@link #quantization} is shown: the calibration images, and after them others if the recipe wants some. */
    default CalibrationImages shown(CalibrationImages images) {
        return images;
    }

    /** How layers are quantised. */
    LayerQuantization quantization(Calibrating calibrating);

    /**
     * A recipe by the name of its preset.
     *
     * @param name {@code base}, {@code ptq4vit} or {@code best}
     */
    static Recipe preset(String name, BitWidths bits) {
        return name.equals("best") ? BestConfig.of(bits) : CalibrationConfig.preset(name, bits);
    }
}
