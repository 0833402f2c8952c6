package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A layer of the float32 network with what the calibration images did to it. Valid while {@link Calibrations} shows it; the tensors
 * that it gives are copies on the host.
 */
public final class ObservedLayer {
    private final VisionTransformer model;
    private final Backend backend;
    private final CalibrationImages images;
    private final LayerWalk.Walked walked;
    private final int unit;
    private final LayerData data;

    ObservedLayer(VisionTransformer model, Backend backend, CalibrationImages images, LayerWalk.Walked walked, int unit,
            LayerData data) {
        this.model = model;
        this.backend = backend;
        this.images = images;
        this.walked = walked;
        this.unit = unit;
        this.data = data;
    }

    /** Name, role and shape. */
    public Layer layer() {
        return data.layer();
    }

    /** The left operand: {@code [rows, inputs]}, or {@code [products, heads, n, k]} for a product of attention. */
    public Tensor left() {
        return host(data.left());
    }

    /** The right operand: the weight {@code [outputs, inputs]}, or {@code [products, heads, k, m]} for a product of attention. */
    public Tensor right() {
        return data.right().map(this::host).orElseGet(() -> model.weight(layer()));
    }

    /** The bias, {@code [outputs]}; some layers have none. */
    public Optional<Tensor> bias() {
        return model.bias(layer());
    }

    /** The output, bias included: {@code [rows, outputs]}, or {@code [products, heads, n, m]} for a product of attention. */
    public Tensor output() {
        return host(data.output());
    }

    /** Squared gradients of the network's loss at the output, means over the draws, shaped like it. */
    public Tensor gradients() {
        return host(data.gradient().orElseThrow());
    }

    /** The float32 network's logits for the calibration images, {@code [images, classes]}. */
    public Tensor logits() {
        try (Scope scope = backend.scope()) {
            int last = walked.network().units().size();
            return walked.network().logits(walked.arithmetic(), last, unitInput(last, scope));
        }
    }

    /** The layer with its left operand quantised. */
    public LayerTrial tryLeft(OperandQuantizer quantizer) {
        return new LayerTrial(this, backend, Optional.of(quantizer), Optional.empty());
    }

    /** The layer with its right operand quantised. */
    public LayerTrial tryRight(OperandQuantizer quantizer) {
        return new LayerTrial(this, backend, Optional.empty(), Optional.of(quantizer));
    }

    /** The layer with both operands quantised. */
    public LayerTrial tryBoth(OperandQuantizer left, OperandQuantizer right) {
        return new LayerTrial(this, backend, Optional.of(left), Optional.of(right));
    }

    /**
     * The layer as a model that executes codes has it.
     *
     * @param left quantisers of the left operand: one, for a product of attention also one a head; none leaves it in float32
     * @param right quantisers of the right operand: one, or one a head; of a weight one, or one an output
     * @param rounding of the weight, with the moments of the inputs as they are quantised; not asked for a product of attention
     */
    public QuantizedLayer quantized(List<Quantizer> left, List<Quantizer> right, Rounding rounding) {
        return new QuantizedLayer(layer().name(), left, right,
                layer().role().isMatmul() ? new byte[0] : rounding.codes(right(), moments(left), right));
    }

    /** {@code X^T X / rows} of the inputs X, quantised if they are. */
    private double[][] moments(List<Quantizer> left) {
        double[] ones = new double[data.left().size(0)];
        Arrays.fill(ones, 1);
        try (Scope scope = backend.scope()) {
            View inputs = data.left();
            if (!left.isEmpty()) {
                inputs = scope.floats(data.left().sizes());
                backend.decoded(data.left(), left.get(0).grid(), inputs);
            }
            return new Moments(backend, ones).of(inputs);
        }
    }

    LayerData data() {
        return data;
    }

    int unit() {
        return unit;
    }

    CalibrationImages images() {
        return images;
    }

    LayerWalk.Walked walked() {
        return walked;
    }

    /** What comes into a unit for all images. */
    View unitInput(int index, Scope scope) {
        return walked.inputs().read(index, 0, images.ids().size(), scope);
    }

    Tensor host(View view) {
        if (view.isDense()) {
            return backend.download(view);
        }
        try (Scope scope = backend.scope()) {
            View dense = scope.floats(view.sizes());
            backend.copy(view, dense);
            return backend.download(dense);
        }
    }
}
