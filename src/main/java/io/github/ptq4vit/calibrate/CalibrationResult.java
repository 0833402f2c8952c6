package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;

/**
 * What a calibration found.
 *
 * @param recipe what was asked for
 * @param network the float32 network whose layers were quantised: the model, or what the recipe made of it
 * @param imageIds the images it looked at
 * @param layers all layers in network order
 * @param traces the searches of this run, layer by layer in network order; layers taken over from an interrupted run have
 *     none
 * @param records how the quantisers of each layer were chosen, in network order, with those of an interrupted run that were given
 * @param seconds wall-clock time of the run
 * @param searchSeconds of it, spent in searches
 * @param timings where it went
 */
public record CalibrationResult(Recipe recipe, VisionTransformer network, List<String> imageIds, List<QuantizedLayer> layers,
        List<SearchTrace> traces, List<LayerRecord> records, double seconds, double searchSeconds, Timings timings) {
}
