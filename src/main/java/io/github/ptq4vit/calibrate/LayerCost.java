package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import java.util.Arrays;

/**
 * What quantising one layer costs, estimated by the Hessian metric: half the sum of errors of its output, squared and weighed by the
 * Fisher information, a mean over images. Sums over layers estimate the divergence from float32 in nats, the better the smaller
 * it is.
 *
 * @param layer name
 * @param weights how many weights it has
 * @param activations how many numbers an image puts into it, both operands of a product of attention
 * @param weightCosts what quantising the weights costs, by bit width from 0 to 8, NaN below 2; zeros without weights
 * @param activationCosts the same of activations; zeros if the layer leaves them float32
 */
public record LayerCost(String layer, long weights, long activations, double[] weightCosts, double[] activationCosts) {

    /** For a record. */
    LayerRecord.ByBits byBits() {
        return new LayerRecord.ByBits(Arrays.stream(weightCosts).skip(BitWidths.MIN).boxed().toList(),
                Arrays.stream(activationCosts).skip(BitWidths.MIN).boxed().toList());
    }

    /** Both at once. */
    public double at(int weightBits, int activationBits) {
        return weightCosts[weightBits] + activationCosts[activationBits];
    }
}
