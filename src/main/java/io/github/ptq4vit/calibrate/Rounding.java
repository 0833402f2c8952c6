package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;

/** Rounds the weights of a layer to codes: a way of one's own, see {@link ObservedLayer#quantized}. */
@FunctionalInterface
public interface Rounding {
    /** To the nearest codes. */
    Rounding NEAREST = (weight, moments, rows) -> QuantizedLayer.codes(weight.toArray(), rows);

    /**
     * The codes of a weight.
     *
     * @param weight {@code [outputs, inputs]}
     * @param moments M, second moments of the layer's inputs, {@code [inputs][inputs]}: weights that are off by e in a row move its
     *     output by {@code e M e^T} in the mean square
     * @param rows quantisers of the output rows: one for all, or one for each of equally many consecutive rows
     * @return {@code [outputs, inputs]}, row-major
     */
    byte[] codes(Tensor weight, double[][] moments, List<Quantizer> rows);
}
