package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/** A layer with weights, and what the calibration images did to it, as searches and rounding want it. */
final class LinearLayer {
    private final Layer layer;
    private final LayerData data;
    private final float[] weight;
    private final Optional<Tensor> bias;
    private final HostMatrix x;
    private final HostMatrix gradient;
    /** Tokens at the start of each image that may have a quantiser of their own, and all of its tokens. */
    private final int prefix;
    private final int tokens;

    LinearLayer(VisionTransformer model, LayerData data, int unit, Backend backend) {
        this.layer = data.layer();
        this.data = data;
        this.weight = model.weight(layer).toArray();
        this.bias = model.bias(layer);
        this.x = HostMatrix.of(data.left(), backend);
        this.gradient = HostMatrix.of(data.gradient().orElseThrow(), backend);
        List<UnitShape> units = model.config().units();
        boolean block = unit >= 0 && unit < units.size() && units.get(unit) instanceof BlockShape;
        this.prefix = block && model.config() instanceof VitConfig vit ? vit.prefix().count() : 0;
        this.tokens = model.config() instanceof VitConfig vit ? vit.tokens() : 1;
    }

    LayerData data() {
        return data;
    }

    LayerRole role() {
        return layer.role();
    }

    int prefix() {
        return prefix;
    }

    int tokens() {
        return tokens;
    }

    int inputs() {
        return x.columns();
    }

    int outputs() {
        return gradient.columns();
    }

    /** The input. */
    HostMatrix x() {
        return x;
    }

    /** Means of squared gradients at the output. */
    HostMatrix gradient() {
        return gradient;
    }

    /**
     * What each row counts in second moments: by the root of its squared gradients, but never nothing. By the squares themselves a few
     * tokens (late in the network the class token alone) would decide, and weights would fit those of the calibration images only.
     */
    double[] rowWeights() {
        return rowWeights(gradient);
    }

    /** The same of other rows, by the means of squared gradients at the output. */
    static double[] rowWeights(HostMatrix gradient) {
        double[] roots = Arrays.stream(gradient.rowShares()).map(Math::sqrt).toArray();
        return HostMatrix.floored(HostMatrix.dividedByMean(roots), BestTransforms.GRADIENT_PART);
    }

    /** Weights for a transformed input, {@code [outputs, inputs]}. */
    float[] weight(InputTransform transform) {
        return transform.weight(weight, inputs());
    }

    /** The same as a tensor. */
    Tensor weightTensor(InputTransform transform) {
        return Tensor.of(Shape.of(outputs(), inputs()), weight(transform));
    }

    /** The bias with what the shift of the input adds taken off; the input's transform has no rotation where it has a shift. */
    Optional<Tensor> bias(InputTransform transform) {
        if (transform.shift() == 0) {
            return bias;
        }
        float[] own = weight(transform);
        float[] result = bias.map(Tensor::toArray).orElse(new float[outputs()]).clone();
        float[] shifts = transform.shifts(inputs());
        for (int o = 0; o < result.length; o++) {
            double sum = 0;
            for (int c = 0; c < shifts.length; c++) {
                sum += (double) own[o * shifts.length + c] * shifts[c];
            }
            result[o] -= (float) sum;
        }
        return Optional.of(Tensor.of(Shape.of(result.length), result));
    }

    /** The data with another input. */
    LayerData with(View input) {
        return new LayerData(layer, input, Optional.empty(), data.output(), data.gradient());
    }

    /** Rows of all tokens. */
    int[] allRows() {
        return IntStream.range(0, x.rows()).toArray();
    }

    /** Rows of tokens after the prefix tokens. */
    int[] ordinaryRows() {
        return IntStream.range(0, x.rows()).filter(row -> row % tokens >= prefix).toArray();
    }

    /** Rows of prefix tokens. */
    int[] prefixRows() {
        return IntStream.range(0, x.rows()).filter(row -> row % tokens < prefix).toArray();
    }

    /**
     * What errors of the weights lose by the Hessian metric.
     *
     * @param rowLosses {@code e H e^T} of each row
     */
    double weightLoss(double[] rowLosses) {
        double[] sums = gradient.columnSums(new double[0]);
        return IntStream.range(0, sums.length).mapToDouble(o -> sums[o] * rowLosses[o]).sum();
    }

    /**
     * What weights rounded to the nearest of evenly spaced codes lose by the Hessian metric, about: errors of channels taken as
     * independent.
     */
    double nearestLoss(InputTransform transform, int bits) {
        double[] squares = x.columnSquares(gradient.rowShares(), new double[0]);
        for (int c = 0; c < squares.length; c++) {
            double factor = transform.factors().length == 0 ? 1 : transform.factors()[c];
            squares[c] *= factor * factor;
        }
        float[] own = weight(transform);
        float[] rounded = WeightRounding.nearest(own, squares, bits, false).numbers();
        double[] outputShares = gradient.columnShares();
        double loss = 0;
        for (int i = 0; i < own.length; i++) {
            double error = own[i] - rounded[i];
            loss += outputShares[i / inputs()] * squares[i % inputs()] * error * error;
        }
        return loss * Arrays.stream(gradient.columnSums(new double[0])).sum() / outputShares.length;
    }
}
