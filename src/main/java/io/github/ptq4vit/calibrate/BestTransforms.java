package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.NormedLayers;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.transform.Equivalences;
import io.github.ptq4vit.transform.Statistics;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/** The transforms of {@link BestConfig}, and the walk through the network that collects what they ask for. */
final class BestTransforms {
    /** How much of a weight comes from gradients; the rest is the same for all. */
    static final double GRADIENT_PART = 0.9;
    /** The same for outputs of attention, whose gradients say less of the values. */
    private static final double VALUE_PART = 0.45;

    private final BestConfig config;
    private final VisionTransformer model;
    private final Backend backend;
    private final CalibrationImages images;
    private final Timings timings;
    private final Map<String, String> norms = new HashMap<>();
    private final Map<String, double[]> offsets = new HashMap<>();
    private final Map<String, double[]> inputs = new HashMap<>();
    private final Map<String, double[]> outputWeights = new HashMap<>();
    private final Map<String, Statistics.Attention> attention = new HashMap<>();

    BestTransforms(BestConfig config, VisionTransformer model, Backend backend, CalibrationImages images, Timings timings) {
        this.config = config;
        this.model = model;
        this.backend = backend;
        this.images = images;
        this.timings = timings;
        for (NormedLayers normed : model.config().normedLayers()) {
            normed.layers().forEach(layer -> norms.put(layer.name(), normed.norm()));
        }
    }

    VisionTransformer transformed() {
        new LayerWalk(model, backend, config.loss(), images, timings).run(walked -> this::collect);
        Statistics statistics = new Statistics(offsets, inputs, outputWeights, attention);
        VisionTransformer result = model;
        result = Equivalences.centreNorms(result, statistics);
        if (config.has(Ingredient.BALANCED_NORMS)) {
            result = Equivalences.balanceNorms(result, statistics);
        }
        if (config.has(Ingredient.CENTRED)) {
            result = Equivalences.centreKeysAndValues(result, statistics);
        }
        if (config.has(Ingredient.ROTATED_HEADS)) {
            result = Equivalences.rotateValues(Equivalences.rotateQueriesAndKeys(result, statistics, config.seed()), statistics,
                    config.seed());
        }
        return result;
    }

    private void collect(String unit, int index, List<LayerData> layers, Scope scope) {
        timings.time("statistics", () -> {
            Map<LayerRole, LayerData> byRole = new HashMap<>();
            for (LayerData data : layers) {
                byRole.put(data.layer().role(), data);
                if (!data.layer().role().isMatmul()) {
                    linear(data);
                }
            }
            if (byRole.containsKey(LayerRole.QKV)) {
                attention.put(unit, attention(byRole));
            }
        });
    }

    private void linear(LayerData data) {
        Layer layer = data.layer();
        HostMatrix gradient = HostMatrix.of(data.gradient().orElseThrow(), backend);
        outputWeights.put(layer.name(), HostMatrix.floored(gradient.columnShares(), GRADIENT_PART));
        String norm = norms.get(layer.name());
        if (norm != null) {
            HostMatrix x = HostMatrix.of(data.left(), backend);
            double[] rows = HostMatrix.floored(gradient.rowShares(), GRADIENT_PART);
            double[] own = new double[0];
            if (layer.role().hasBias()) {
                own = config.has(Ingredient.CENTRED_NORMS) ? x.columnMeans(rows) : doubles(model.tensor(norm + ".bias").toArray());
                offsets.put(layer.name(), own);
            }
            inputs.put(layer.name(), x.columnSquares(rows, own));
        }
    }

    private static double[] doubles(float[] numbers) {
        return IntStream.range(0, numbers.length).mapToDouble(i -> numbers[i]).toArray();
    }

    private Statistics.Attention attention(Map<LayerRole, LayerData> layers) {
        HostMatrix qkv = HostMatrix.of(layers.get(LayerRole.QKV).output(), backend);
        int dim = qkv.columns() / 3;
        double[] means = qkv.columnSums(new double[0]);
        for (int c = 0; c < means.length; c++) {
            means[c] = c < dim ? 0 : means[c] / qkv.rows();
        }
        double[] squares = qkv.columnSquares(new double[0], means);
        double[] keyMeans = java.util.Arrays.copyOfRange(means, dim, 2 * dim);
        double[] valueMeans = java.util.Arrays.copyOfRange(means, 2 * dim, 3 * dim);

        LayerData projection = layers.get(LayerRole.PROJECTION);
        HostMatrix gradient = HostMatrix.of(projection.gradient().orElseThrow(), backend);
        double[] outputs = HostMatrix.of(projection.left(), backend)
                .columnSquares(HostMatrix.floored(gradient.rowShares(), VALUE_PART), valueMeans);
        // an error of a value is averaged by the probabilities
        double averaged = meanSquaredProbabilities(layers.get(LayerRole.PROBABILITY_VALUE).left());
        double[] values = new double[dim];
        for (int c = 0; c < dim; c++) {
            values[c] = outputs[c] + averaged * squares[2 * dim + c];
        }
        return new Statistics.Attention(java.util.Arrays.copyOfRange(squares, 0, dim), java.util.Arrays.copyOfRange(squares, dim, 2 * dim),
                keyMeans, valueMeans, values);
    }

    /** Mean over the rows of the sum of squares. */
    private double meanSquaredProbabilities(View probabilities) {
        try (Scope scope = backend.scope()) {
            View dense = new Parallel(backend).dense(probabilities, scope);
            View zeros = scope.floats(dense.sizes());
            backend.zero(zeros);
            double sum = backend.squaredErrors(dense.reshape(1, 1, Math.toIntExact(dense.elements())),
                    zeros.reshape(1, 1, Math.toIntExact(dense.elements())), Optional.empty())[0];
            return sum * dense.size(-1) / dense.elements();
        }
    }
}
