package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.model.VisionTransformer;
import java.util.List;

/** Which layers of a model cost how much at which bit width. */
public final class Sensitivity {
    private Sensitivity() {
    }

    /**
     * Estimates what each layer costs by itself at 2 to 8 bits, quantised as the recipe does it.
     *
     * @param images 8 are enough to tell which layers cost more than others
     * @return all layers in network order
     */
    public static List<LayerCost> of(VisionTransformer model, Backend backend, BestConfig config, CalibrationImages images,
            Progress progress) {
        Timings timings = new Timings();
        VisionTransformer network = config.transformed(model, backend, images, timings);
        return LayerCosts.of(network, backend, config, images, timings, progress);
    }
}
