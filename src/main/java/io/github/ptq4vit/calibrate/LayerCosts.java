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
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** Estimates what each layer costs at every bit width, quantised as {@link BestConfig} does it. */
final class LayerCosts {
    /** Tried; what lies between is the geometric mean of its neighbours. */
    private static final int[] WIDTHS = {2, 3, 4, 6, 8};

    /** So many images tell which layers cost more than others. */
    static final int IMAGES = 8;

    private final VisionTransformer network;
    private final Backend backend;
    private final BestConfig config;
    private final int images;
    private final List<LayerCost> costs = new ArrayList<>();

    private LayerCosts(VisionTransformer network, Backend backend, BestConfig config, int images) {
        this.network = network;
        this.backend = backend;
        this.config = config;
        this.images = images;
    }

    /**
     * The costs of all layers, in network order.
     *
     * @param network transformed
     * @param progress told of every layer
     */
    static List<LayerCost> of(VisionTransformer network, Backend backend, BestConfig config, CalibrationImages images, Timings timings,
            Progress progress) {
        LayerCosts costs = new LayerCosts(network, backend, config, images.ids().size());
        List<String> order = network.config().layers().stream().map(Layer::name).toList();
        new LayerWalk(network, backend, config.loss(), images, timings).run(walked -> (name, unit, data, scope) -> {
            for (LayerData layer : data) {
                costs.costs.add(timings.time("costs by bits", () -> costs.of(layer, unit)));
                progress.advanced("costs of " + layer.layer().name(), costs.costs.size(), order.size());
            }
        });
        costs.costs.sort(Comparator.comparingInt(cost -> order.indexOf(cost.layer())));
        return List.copyOf(costs.costs);
    }

    private LayerCost of(LayerData data, int unit) {
        double[] weights = new double[BitWidths.MAX + 1];
        double[] activations = new double[BitWidths.MAX + 1];
        Layer layer = data.layer();
        long numbers = data.left().elements() / images;
        if (layer.role().isMatmul()) {
            for (int bits : WIDTHS) {
                AttentionSearch.Found found = new AttentionSearch(backend, config).run(data, bits);
                activations[bits] = found.left() + found.right();
            }
            return new LayerCost(layer.name(), 0, numbers + data.right().orElseThrow().elements() / images, weights, nats(activations));
        }
        LinearLayer linear = new LinearLayer(network, data, unit, backend);
        TransformedInputs transformed = new TransformedInputs(backend, linear.tokens());
        InputTransform of = InputTransform.NONE;
        WeightRounding rounding = null;
        for (int bits : WIDTHS) {
            InputTransform transform = InputTransform.NONE;
            if (layer.role() != LayerRole.PATCH_EMBEDDING) {
                InputChoice input = new LinearInput(backend, config, linear, transformed, new BitWidths(bits, bits)).best();
                activations[bits] = input.loss();
                transform = input.transform();
            }
            if (rounding == null || !transform.equals(of)) {
                of = transform;
                rounding = rounding(linear, transformed, transform);
            }
            weights[bits] = weightLoss(linear, rounding, transform, bits);
        }
        return new LayerCost(layer.name(), (long) linear.outputs() * linear.inputs(),
                layer.role() == LayerRole.PATCH_EMBEDDING ? 0 : numbers, nats(weights), nats(activations));
    }

    private WeightRounding rounding(LinearLayer layer, TransformedInputs transformed, InputTransform transform) {
        try (Scope scope = backend.scope()) {
            View inputs = transformed.of(layer.data().left(), transform, scope);
            return new WeightRounding(new Moments(backend, layer.rowWeights()).of(inputs), BestQuantization.DAMPING);
        }
    }

    private double weightLoss(LinearLayer layer, WeightRounding rounding, InputTransform transform, int bits) {
        float[] weight = layer.weight(transform);
        return layer.weightLoss(rounding.losses(weight, rounding.round(weight, bits, config.has(Ingredient.COMPANDED_WEIGHTS))));
    }

    /** Losses over all images as what {@link LayerCost} says, at all widths. */
    private double[] nats(double[] losses) {
        double[] result = new double[losses.length];
        Arrays.fill(result, 0, BitWidths.MIN, Double.NaN);
        for (int i = 0; i < WIDTHS.length; i++) {
            result[WIDTHS[i]] = losses[WIDTHS[i]] / 2 / images;
            if (i > 0 && WIDTHS[i] - WIDTHS[i - 1] == 2) {
                result[WIDTHS[i] - 1] = Math.sqrt(result[WIDTHS[i]] * result[WIDTHS[i - 1]]);
            }
        }
        return result;
    }
}
