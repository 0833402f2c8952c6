package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;

/** {@link BestConfig}, layer by layer. */
final class BestQuantization implements LayerQuantization {
    /** Added to the second moments' diagonal, as a part of its mean. */
    static final double DAMPING = 0.3;

    private final Backend backend;
    private final VisionTransformer model;
    private final BestConfig config;
    private final Timings timings;

    BestQuantization(Calibrating calibrating, BestConfig config) {
        this.backend = calibrating.backend();
        this.model = calibrating.model();
        this.config = config;
        this.timings = calibrating.timings();
    }

    @Override
    public Outcome quantize(LayerData data, int unit) {
        Layer layer = data.layer();
        BitWidths bits = config.plan().of(layer.name());
        if (layer.role().isMatmul()) {
            return new Outcome(timings.time("search " + layer.role().suffix(),
                    () -> new AttentionSearch(backend, config).run(data, bits.activations()).layer()), List.of());
        }
        return new Outcome(linear(new LinearLayer(model, data, unit, backend), bits), List.of());
    }

    private QuantizedLayer linear(LinearLayer layer, BitWidths bits) {
        String name = layer.data().layer().name();
        if (layer.role() == LayerRole.PATCH_EMBEDDING) {
            WeightRounding.Rounded rounded = timings.time("round weights", () -> round(layer, InputTransform.NONE, layer.data().left(), bits));
            return new QuantizedLayer(name, List.of(), rounded.rows(), rounded.codes());
        }
        TransformedInputs transformed = new TransformedInputs(backend, layer.tokens());
        InputChoice input = timings.time("search " + layer.role().suffix() + " L",
                () -> new LinearInput(backend, config, layer, transformed, bits).best());
        try (Scope scope = backend.scope()) {
            WeightRounding.Rounded rounded = timings.time("round weights", () -> round(layer, input.transform(),
                    transformed.decoded(layer.data().left(), input, scope), bits));
            return new QuantizedLayer(name, input.quantizers(), rounded.rows(), rounded.codes(), input.transform());
        }
    }

    private WeightRounding.Rounded round(LinearLayer layer, InputTransform transform, View inputs, BitWidths bits) {
        double[] rows = layer.rowWeights();
        double[][] moments = new Moments(backend, rows).of(inputs);
        float[] weight = layer.weight(transform);
        if (config.has(Ingredient.ERROR_FEEDBACK)) {
            return new WeightRounding(moments, DAMPING).round(weight, bits.weights(), config.has(Ingredient.COMPANDED_WEIGHTS));
        }
        double[] diagonal = new double[moments.length];
        for (int c = 0; c < diagonal.length; c++) {
            diagonal[c] = moments[c][c];
        }
        return WeightRounding.nearest(weight, diagonal, bits.weights(), config.has(Ingredient.COMPANDED_WEIGHTS));
    }
}
