package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.inference.QuantizedArithmetic;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Asks the loss itself where the Hessian metric cannot know. The metric is the loss to second order around the float32
 * network. Some transformers have a token whose activation is many times larger than any other ("massive activations", Sun
 * et al., arXiv 2402.17762). The LayerNorm behind it makes the loss almost flat there, so the metric lets a scale clip it;
 * but once it is clipped, the same LayerNorm blows up all the rest of the token, and attention, which uses it as a resting
 * place, goes astray. For a layer that adds such a token to the residual stream this class measures what the found scales
 * cost: the mean Kullback-Leibler divergence between the predictions of the float32 network and of the same network with
 * only this layer quantised, on the first calibration images. If that is several times what the metric says, the layer's
 * two scales are moved, in turns, as long as the divergence falls.
 */
final class LossCheck {
    private static final int MOST_IMAGES = 32;
    /** Squared norm of the largest token of a layer's output over the median one's, from which the layer is looked at. */
    private static final double MASSIVE = 100;
    /** Measured over expected divergence from which the scales are moved. */
    private static final double UNDERESTIMATED = 2;
    /** Steps of the scales, large ones first. */
    private static final double[] FACTORS = {4, 2, Math.sqrt(2)};
    /** Bounds the scales too: after so many of the largest steps a float32 still holds them. */
    private static final int MOST_STEPS = 50;

    private final Backend backend;
    private final Parallel parallel;
    private final Network network;
    private final VisionTransformer model;
    private final FloatArithmetic arithmetic;
    private final CalibrationConfig config;
    private final UnitInputs inputs;
    private final int images;
    private Tensor expected;

    LossCheck(Calibrating calibrating, CalibrationConfig config) {
        this.backend = calibrating.backend();
        this.parallel = new Parallel(backend);
        this.network = calibrating.walked().network();
        this.model = calibrating.model();
        this.arithmetic = calibrating.walked().arithmetic();
        this.config = config;
        this.inputs = calibrating.walked().inputs();
        this.images = Math.min(MOST_IMAGES, calibrating.images());
    }

    /** What was found for a layer of a unit, or what the loss prefers to it. */
    LayerQuantization.Outcome confirmed(int unit, LayerData data, LayerQuantization.Outcome found) {
        return suspicious(data) ? measured(unit, data, found) : found;
    }

    private boolean suspicious(LayerData data) {
        boolean residual = data.layer().role() == LayerRole.PROJECTION || data.layer().role() == LayerRole.FC2;
        if (!config.lossCheck() || config.metric() != Metric.HESSIAN || !residual) {
            return false;
        }
        double[] norms = parallel.squaredNorms(data.output());
        Arrays.sort(norms);
        return norms[norms.length - 1] > MASSIVE * norms[norms.length / 2];
    }

    private LayerQuantization.Outcome measured(int unit, LayerData data, LayerQuantization.Outcome found) {
        double expected = found.record().cost().all();
        Measured start = new Measured(found.layer(), divergence(unit, found.layer()), 1, 1);
        Measured best = start.divergence <= UNDERESTIMATED * expected ? start : best(unit, data.layer(), start);
        return new LayerQuantization.Outcome(best.layer, found.traces(), found.record().withCheck(
                new LayerRecord.Check(expected, start.divergence, best.divergence, best.left, best.right)));
    }

    /**
     * From a layer's version on, scales are multiplied or divided as long as the divergence falls: one scale, the other, and
     * again with a smaller factor.
     */
    private Measured best(int unit, Layer layer, Measured start) {
        float[] weight = model.weight(layer).toArray();
        // the way back from a step, or the same step after one elsewhere was refused, leads to a version measured before
        Map<QuantizedLayer, Double> known = new HashMap<>(Map.of(start.layer, start.divergence));
        Measured best = start;
        int steps = 0;
        for (double factor : FACTORS) {
            Measured before;
            do {
                before = best;
                for (double[] step : new double[][] {{factor, 1}, {1, factor}, {1 / factor, 1}, {1, 1 / factor}}) {
                    boolean better = true;
                    while (better && steps++ < MOST_STEPS) {
                        QuantizedLayer version = scaled(best.layer, step[0], step[1], weight);
                        Measured next = new Measured(version, known.computeIfAbsent(version, v -> divergence(unit, v)),
                                best.left * step[0], best.right * step[1]);
                        better = next.divergence < best.divergence;
                        best = better ? next : best;
                    }
                }
            } while (best != before);
        }
        return best;
    }

    /** A version of a layer, what it costs, and how far its scales were moved. */
    private record Measured(QuantizedLayer layer, double divergence, double left, double right) {
    }

    private QuantizedLayer scaled(QuantizedLayer layer, double left, double right, float[] weight) {
        List<Quantizer> rights = layer.right().stream().map(q -> scaled(q, right)).toList();
        return new QuantizedLayer(layer.name(), layer.left().stream().map(q -> scaled(q, left)).toList(), rights,
                QuantizedLayer.codes(weight, rights));
    }

    private Quantizer scaled(Quantizer quantizer, double factor) {
        if (quantizer instanceof Quantizer.GeluTwin twin) {
            return Quantizer.GeluTwin.of((float) (twin.positiveScale() * factor), twin.bits(), config.twinRule());
        }
        Quantizer.Uniform uniform = (Quantizer.Uniform) quantizer;
        return new Quantizer.Uniform((float) (uniform.scale() * factor), uniform.bits());
    }

    /** Mean divergence of the predictions with this one layer quantised from those of the float32 network. */
    private double divergence(int unit, QuantizedLayer quantized) {
        try (Scope scope = backend.scope()) {
            if (expected == null) {
                int last = network.units().size();
                expected = network.logits(arithmetic, last, inputs.read(last, 0, images, scope));
            }
            QuantizedArithmetic mixed = new QuantizedArithmetic(backend, scope, model, arithmetic);
            mixed.add(quantized);
            Tensor logits = network.logits(mixed, unit, inputs.read(unit, 0, images, scope));
            return IntStream.range(0, images).mapToDouble(i -> Predictions.divergence(expected, logits, i)).average().orElseThrow();
        }
    }
}
