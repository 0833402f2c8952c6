package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.quant.QuantizedLayer;

/** The last word on what a search has found. */
@FunctionalInterface
interface Confirmation {

    /** Takes everything as it was found. */
    Confirmation NONE = (data, found) -> found.layer();

    /** The layer as it was found, or a better one. */
    QuantizedLayer of(LayerData data, LayerCalibration.Outcome found);
}
