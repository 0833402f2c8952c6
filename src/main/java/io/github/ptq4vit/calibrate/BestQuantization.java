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
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** {@link BestConfig}, layer by layer. */
final class BestQuantization implements LayerQuantization {
    /** Added to the second moments' diagonal, as a part of its mean. */
    static final double DAMPING = 0.3;

    private final Calibrating calibrating;
    private final Backend backend;
    private final OperandHistograms histograms;
    private final VisionTransformer model;
    private final BestConfig config;
    private final Timings timings;

    BestQuantization(Calibrating calibrating, BestConfig config) {
        this.calibrating = calibrating;
        this.backend = calibrating.backend();
        this.histograms = new OperandHistograms(backend);
        this.model = calibrating.model();
        this.config = config;
        this.timings = calibrating.timings();
    }

    @Override
    public Outcome quantize(LayerData data, int unit) {
        Layer layer = data.layer();
        if (config.plan().excluded().contains(layer.name())) {
            return new Outcome(QuantizedLayer.unquantized(layer.name()), List.of(), LayerRecord.unquantized(layer.name()));
        }
        BitWidths bits = config.plan().of(layer.name());
        if (layer.role().isMatmul()) {
            AttentionSearch.Found found = timings.time("search " + layer.role().suffix(),
                    () -> new AttentionSearch(backend, config).run(data, bits.activations()));
            return new Outcome(found.layer(), List.of(), timings.time("record", () -> new LayerRecord(layer.name(),
                    LayerRecord.Cost.of(calibrating.nats(found.left()), calibrating.nats(found.right())), found.curves(), Optional.empty(),
                    Optional.empty(), Optional.of(histograms.ofProducts(data.left())),
                    Optional.of(histograms.ofProducts(data.right().orElseThrow())))));
        }
        return linear(new LinearLayer(model, data, unit, backend), bits);
    }

    private Outcome linear(LinearLayer layer, BitWidths bits) {
        TransformedInputs transformed = new TransformedInputs(backend, layer.tokens());
        InputChoice input = layer.role() == LayerRole.PATCH_EMBEDDING ? new InputChoice(InputTransform.NONE, List.of(), List.of(), 0)
                : timings.time("search " + layer.role().suffix() + " L",
                        () -> new LinearInput(backend, config, layer, transformed, bits).best());
        try (Scope scope = backend.scope()) {
            return timings.time("round weights", () -> {
                View inputs = input.quantizers().isEmpty() ? layer.data().left() : transformed.decoded(layer.data().left(), input, scope);
                return rounded(layer, input, inputs, transformed, bits.weights());
            });
        }
    }

    private Outcome rounded(LinearLayer layer, InputChoice input, View inputs, TransformedInputs transformed, int bits) {
        double[][] moments = new Moments(backend, layer.rowWeights()).of(inputs);
        float[] weight = layer.weight(input.transform());
        boolean companded = config.has(Ingredient.COMPANDED_WEIGHTS);
        double[] diagonal = IntStream.range(0, moments.length).mapToDouble(c -> moments[c][c]).toArray();
        WeightRounding rounding = new WeightRounding(moments, DAMPING);
        WeightRounding.Rounded rounded = config.has(Ingredient.ERROR_FEEDBACK) ? rounding.round(weight, bits, companded)
                : WeightRounding.nearest(weight, diagonal, bits, companded);
        QuantizedLayer result = new QuantizedLayer(layer.data().layer().name(), input.quantizers(), rounded.rows(), rounded.codes(),
                input.transform());
        LayerRecord.Cost cost = LayerRecord.Cost.of(calibrating.nats(input.loss()),
                calibrating.nats(layer.weightLoss(rounding.losses(weight, rounded))));
        LayerRecord.Histogram left = histograms.ofRows(layer.data().left(), (rows, scope) -> transformed.of(rows, input.transform(), scope));
        return new Outcome(result, List.of(), new LayerRecord(result.name(), cost,
                Stream.concat(input.curves().stream(), rounded.curves().stream()).toList(), Optional.empty(), Optional.empty(),
                Optional.of(left), Optional.of(OperandHistograms.of(weight))));
    }
}
