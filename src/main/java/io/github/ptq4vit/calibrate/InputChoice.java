package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.Quantizer;
import java.util.List;

/**
 * How the input of a linear layer is quantised.
 *
 * @param transform what happens to it before
 * @param quantizers of most tokens, and of prefix tokens if they have one of their own
 * @param curves of the candidates that they were chosen from
 * @param loss by the Hessian metric, over all rows, with weights that do not err
 */
record InputChoice(InputTransform transform, List<Quantizer> quantizers, List<LayerRecord.Curve> curves, double loss) {
}
