package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;
import java.util.Map;

/**
 * What a calibration found.
 *
 * @param recipe what was asked for
 * @param network the float32 network whose layers were quantised: the model, or what the recipe made of it
 * @param imageIds the images it looked at
 * @param layers all layers in network order
 * @param traces the searches of this run, layer by layer in network order; layers taken over from an interrupted run have
 *     none
 * @param costs what each layer that this run quantised costs by itself: the divergence from float32 that the Hessian metric
 *     estimates, in nats; NaN with other metrics
 * @param seconds wall-clock time of the run
 * @param searchSeconds of it, spent in searches
 * @param timings where it went
 */
public record CalibrationResult(Recipe recipe, VisionTransformer network, List<String> imageIds, List<QuantizedLayer> layers,
        List<SearchTrace> traces, Map<String, Double> costs, double seconds, double searchSeconds, Timings timings) {
}
