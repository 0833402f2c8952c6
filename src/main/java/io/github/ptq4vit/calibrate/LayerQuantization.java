package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;

/** Chooses a layer's quantisers and codes from what the calibration images did to it. */
interface LayerQuantization {

    /**
     * Quantises a layer.
     *
     * @param data its operands, output and squared gradients
     * @param unit index of its unit
     */
    Outcome quantize(LayerData data, int unit);

    /**
     * A layer's result and how it came about.
     *
     * @param record of the choice
     */
    record Outcome(QuantizedLayer layer, List<SearchTrace> traces, LayerRecord record) {
    }
}
