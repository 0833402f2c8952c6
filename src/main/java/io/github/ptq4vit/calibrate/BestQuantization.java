package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/** {@link BestConfig}, layer by layer. */
final class BestQuantization implements LayerQuantization {
    private static final int HADAMARD_BLOCK = 64;
    /** Just more than what makes GELU's outputs positive. */
    private static final float GELU_SHIFT = 0.17f;
    private static final double[] POWERS = {0, 0.25, 0.5, 0.75, 1};
    /** Of 4 bits: neighbours from a tenth apart to more than a third. */
    private static final int[] RATIOS = {6, 8, 10, 12, 15, 18, 22, 26};
    /** How much an error of the weights counts, compared with one of the inputs, when channel factors are chosen. */
    private static final double WEIGHT_PART = 0.6;
    /** Added to the second moments' diagonal, as a part of its mean. */
    private static final double DAMPING = 0.3;

    private final Backend backend;
    private final VisionTransformer model;
    private final BestConfig config;
    private final Timings timings;
    private final List<UnitShape> units;
    private final AttentionSearch attention;

    BestQuantization(Calibrating calibrating, BestConfig config) {
        this.backend = calibrating.backend();
        this.model = calibrating.model();
        this.config = config;
        this.timings = calibrating.timings();
        this.units = model.config().units();
        this.attention = new AttentionSearch(backend, config);
    }

    @Override
    public Outcome quantize(LayerData data, int unit) {
        Layer layer = data.layer();
        if (layer.role().isMatmul()) {
            return new Outcome(timings.time("search " + layer.role().suffix(), () -> attention.run(data)), List.of());
        }
        try (Scope scope = backend.scope()) {
            return new Outcome(linear(data, unit, scope), List.of());
        }
    }

    private QuantizedLayer linear(LayerData data, int unit, Scope scope) {
        Layer layer = data.layer();
        Tensor weight = model.weight(layer);
        int inputs = weight.shape().size(1);
        HostMatrix gradient = HostMatrix.of(data.gradient().orElseThrow(), backend);
        double[] rowShares = gradient.rowShares();
        Moments moments = new Moments(backend, HostMatrix.floored(rowShares, BestTransforms.GRADIENT_PART));
        if (layer.role() == LayerRole.PATCH_EMBEDDING) {
            WeightRounding.Rounded rounded = timings.time("round weights", () -> round(weight.toArray(), moments, data.left()));
            return new QuantizedLayer(layer.name(), List.of(), rounded.rows(), rounded.codes());
        }
        int prefix = config.has(Ingredient.PREFIX_RANGES) && !config.isDynamic() ? prefixTokens(unit) : 0;
        Input input = timings.time("search " + layer.role().suffix() + " L", () -> layer.input() == Distribution.GELU
                ? geluInput(data, weight, prefix, gradient, scope) : uniformInput(data, weight, hadamard(layer, inputs), prefix, scope));
        float[] transformed = input.transform.weight(weight.toArray(), inputs);
        WeightRounding.Rounded rounded = timings.time("round weights", () -> {
            View decoded = scope.floats(data.left().sizes());
            View source = transformed(data.left(), input.transform, scope);
            decode(source, input, unit, decoded);
            return round(transformed, moments, decoded);
        });
        return new QuantizedLayer(layer.name(), input.quantizers, rounded.rows(), rounded.codes(), input.transform);
    }

    /** How the input of a layer is quantised. */
    private record Input(InputTransform transform, List<Quantizer> quantizers) {
    }

    private int hadamard(Layer layer, int inputs) {
        boolean normed = layer.role() == LayerRole.QKV || layer.role() == LayerRole.FC1 || layer.role() == LayerRole.REDUCTION
                || layer.role() == LayerRole.HEAD;
        return normed && config.has(Ingredient.HADAMARD) ? Math.min(HADAMARD_BLOCK, Integer.lowestOneBit(inputs)) : 1;
    }

    private int prefixTokens(int unit) {
        boolean block = unit >= 0 && unit < units.size() && units.get(unit) instanceof BlockShape;
        return block && model.config() instanceof VitConfig vit ? vit.prefix().count() : 0;
    }

    private Input uniformInput(LayerData data, Tensor weight, int hadamard, int prefix, Scope scope) {
        InputTransform transform = InputTransform.NONE.withHadamard(hadamard).withPrefixTokens(prefix);
        LayerData own = withInput(data, transformed(data.left(), transform, scope));
        Tensor ownWeight = Tensor.of(weight.shape(), transform.weight(weight.toArray(), weight.shape().size(1)));
        if (config.isDynamic()) {
            RowSearch search = new RowSearch(backend, scope, own, ownWeight, model.bias(data.layer()));
            return new Input(transform.withRows(RowScale.RANGE, RowScale.NONE),
                    List.of(search.best(RangeSearch.parts(config.bits().activations())).quantizer()));
        }
        List<Quantizer> quantizers = new ArrayList<>();
        for (int[] rows : rows(own.left().size(0), prefix)) {
            LayerData some = rows.length == own.left().size(0) ? own : InputSearch.rows(own, rows, backend, scope);
            quantizers.add(uniform(some, ownWeight).quantizer());
        }
        return new Input(transform, quantizers);
    }

    private RangeSearch.Found uniform(LayerData data, Tensor weight) {
        float[] range = InputSearch.range(HostMatrix.of(data.left(), backend));
        try (Scope scope = backend.scope()) {
            InputSearch search = new InputSearch(backend, scope, data, weight, model.bias(data.layer()));
            return RangeSearch.run(range[0], range[1], config.bits().activations(), search::losses);
        }
    }

    /** Rows of most tokens, then of prefix tokens if there are any. */
    private List<int[]> rows(int count, int prefix) {
        if (prefix == 0) {
            return List.of(IntStream.range(0, count).toArray());
        }
        int tokens = ((VitConfig) model.config()).tokens();
        return List.of(IntStream.range(0, count).filter(row -> row % tokens >= prefix).toArray(),
                IntStream.range(0, count).filter(row -> row % tokens < prefix).toArray());
    }

    /**
     * GELU's outputs: logarithmic levels above GELU's minimum, with factors a channel that let large channels not decide alone, or
     * a twin, whichever loses less.
     */
    private Input geluInput(LayerData data, Tensor weight, int prefix, HostMatrix gradient, Scope scope) {
        HostMatrix x = HostMatrix.of(data.left(), backend);
        int bits = config.bits().activations();
        float largest = InputSearch.range(x)[1];
        Input best = null;
        double least = Double.POSITIVE_INFINITY;
        if (!config.has(Ingredient.LOGARITHMIC_GELU) || bits >= 6) {
            try (Scope inner = backend.scope()) {
                InputSearch search = new InputSearch(backend, inner, data, weight, model.bias(data.layer()));
                List<Quantizer> twins = new ArrayList<>();
                for (int i = 0; i < 60; i++) {
                    float scale = (float) (Math.max(largest, Float.MIN_NORMAL) * (1 - i * 0.015) / ((1 << bits - 1) - 0.5));
                    twins.add(Quantizer.GeluTwin.of(scale, bits, TwinRule.FREE));
                }
                RangeSearch.Found found = search.best(twins);
                least = found.loss() + WEIGHT_PART * weightLoss(weight, InputTransform.NONE, x, gradient);
                best = new Input(InputTransform.NONE, List.of(found.quantizer()));
            }
        }
        if (config.has(Ingredient.LOGARITHMIC_GELU)) {
            double[] magnitudes = channelMaxima(x);
            for (double power : config.has(Ingredient.CHANNEL_FACTORS) ? POWERS : new double[] {0}) {
                InputTransform transform = InputTransform.NONE.withChannels(GELU_SHIFT, factors(magnitudes, power))
                        .withRows(config.isDynamic() ? RowScale.RANGE : RowScale.NONE, RowScale.NONE);
                try (Scope inner = backend.scope()) {
                    LayerData own = withInput(data, transformed(data.left(), transform, inner));
                    Tensor ownWeight = Tensor.of(weight.shape(), transform.weight(weight.toArray(), weight.shape().size(1)));
                    float top = config.isDynamic() ? 1 : InputSearch.range(HostMatrix.of(own.left(), backend))[1];
                    Optional<Tensor> bias = shiftedBias(data.layer(), ownWeight, transform);
                    RangeSearch.Found found = config.isDynamic()
                            ? new RowSearch(backend, inner, own, ownWeight, bias).best(LogarithmicCandidates.of(top, RATIOS, bits))
                            : new InputSearch(backend, inner, own, ownWeight, bias).best(LogarithmicCandidates.of(top, RATIOS, bits));
                    double loss = found.loss() + WEIGHT_PART * weightLoss(weight, transform, x, gradient);
                    if (loss < least) {
                        least = loss;
                        best = new Input(transform, List.of(found.quantizer()));
                    }
                }
            }
        }
        if (prefix == 0) {
            return best;
        }
        InputTransform transform = best.transform.withPrefixTokens(prefix);
        LayerData own = withInput(data, transformed(data.left(), transform, scope));
        Tensor ownWeight = Tensor.of(weight.shape(), transform.weight(weight.toArray(), weight.shape().size(1)));
        LayerData some = InputSearch.rows(own, rows(own.left().size(0), prefix).get(1), backend, scope);
        float top = InputSearch.range(HostMatrix.of(some.left(), backend))[1];
        InputSearch search = new InputSearch(backend, scope, some, ownWeight, shiftedBias(data.layer(), ownWeight, transform));
        boolean twin = best.quantizers.get(0) instanceof Quantizer.GeluTwin;
        Quantizer ofPrefix = twin ? best.quantizers.get(0) : search.best(LogarithmicCandidates.of(top, RATIOS, bits)).quantizer();
        return new Input(transform, List.of(best.quantizers.get(0), ofPrefix));
    }

    private Optional<Tensor> shiftedBias(Layer layer, Tensor weight, InputTransform transform) {
        int inputs = weight.shape().size(1);
        float[] bias = model.bias(layer).map(Tensor::toArray).orElse(new float[layer.outputs()]).clone();
        float[] shifts = transform.shifts(inputs);
        for (int o = 0; o < bias.length; o++) {
            double sum = 0;
            for (int c = 0; c < inputs; c++) {
                sum += (double) weight.data().get(o * inputs + c) * shifts[c];
            }
            bias[o] -= (float) sum;
        }
        return Optional.of(Tensor.of(Shape.of(bias.length), bias));
    }

    private static double[] channelMaxima(HostMatrix x) {
        double[] maxima = new double[x.columns()];
        for (int i = 0; i < x.numbers().length; i++) {
            maxima[i % maxima.length] = Math.max(maxima[i % maxima.length], Math.abs(x.numbers()[i]));
        }
        return maxima;
    }

    /** {@code (geometric mean / maximum)^power}. */
    private static float[] factors(double[] maxima, double power) {
        if (power == 0) {
            return new float[0];
        }
        double logarithms = 0;
        for (double maximum : maxima) {
            logarithms += Math.log(Math.max(maximum, GELU_SHIFT));
        }
        double middle = Math.exp(logarithms / maxima.length);
        float[] factors = new float[maxima.length];
        for (int c = 0; c < factors.length; c++) {
            factors[c] = (float) Math.pow(middle / Math.max(maxima[c], GELU_SHIFT), power);
        }
        return factors;
    }

    /** What rounding the weights to the nearest codes will about lose, in the units of the input's loss. */
    private double weightLoss(Tensor weight, InputTransform transform, HostMatrix x, HostMatrix gradient) {
        int inputs = x.columns();
        double[] outputShares = gradient.columnShares();
        double total = Arrays.stream(gradient.columnSums(new double[0])).sum();
        double[] squares = x.columnSquares(gradient.rowShares(), new double[0]);
        float[] own = transform.weight(weight.toArray(), inputs);
        for (int c = 0; c < inputs; c++) {
            double factor = transform.factors().length == 0 ? 1 : transform.factors()[c];
            squares[c] *= factor * factor;
        }
        WeightRounding.Rounded rounded = WeightRounding.nearest(own, squares, config.bits().weights());
        double loss = 0;
        for (int i = 0; i < own.length; i++) {
            double error = own[i] - rounded.codes()[i] * ((Quantizer.Affine) rounded.rows().get(i / inputs)).scale();
            loss += outputShares[i / inputs] * squares[i % inputs] * error * error;
        }
        return loss * total / outputShares.length;
    }

    private WeightRounding.Rounded round(float[] weight, Moments moments, View inputs) {
        double[][] hessian = moments.of(inputs);
        if (!config.has(Ingredient.ERROR_FEEDBACK)) {
            double[] diagonal = new double[hessian.length];
            for (int c = 0; c < diagonal.length; c++) {
                diagonal[c] = hessian[c][c];
            }
            return WeightRounding.nearest(weight, diagonal, config.bits().weights());
        }
        return new WeightRounding(hessian, DAMPING, config.bits().weights()).round(weight);
    }

    private LayerData withInput(LayerData data, View input) {
        return new LayerData(data.layer(), input, Optional.empty(), data.output(), data.gradient());
    }

    private View transformed(View x, InputTransform transform, Scope scope) {
        if (!transform.changesNumbers()) {
            return x;
        }
        View result = scope.floats(x.sizes());
        int columns = x.size(1);
        View factors = vector(transform.factors(), columns, 1, scope);
        View shifts = vector(transform.shifts(columns), columns, 0, scope);
        backend.parallel(Math.min(16, x.size(0)), (first, last, inner) -> {
            int parts = Math.min(16, x.size(0));
            int from = (int) ((long) x.size(0) * first / parts);
            int to = (int) ((long) x.size(0) * last / parts);
            View own = result.slice(0, from, to);
            backend.multiply(x.slice(0, from, to), factors, own);
            backend.add(own, shifts, own);
            if (transform.hadamard() > 1) {
                backend.hadamard(own, transform.hadamard(), own);
            }
        });
        return result;
    }

    private View vector(float[] numbers, int length, float otherwise, Scope scope) {
        float[] all = numbers;
        if (numbers.length == 0) {
            all = new float[length];
            Arrays.fill(all, otherwise);
        }
        View view = scope.floats(length);
        backend.upload(Tensor.of(Shape.of(length), all), view);
        return view;
    }

    /** What the codes of the transformed input stand for, the shift taken back. */
    private void decode(View x, Input input, int unit, View decoded) {
        List<CodeGrid> grids = input.quantizers.stream().map(q -> q.grid().with(input.transform.rows())).toList();
        int prefix = grids.size() > 1 ? input.transform.prefixTokens() : 0;
        int tokens = prefix > 0 ? ((VitConfig) model.config()).tokens() : 1;
        int images = x.size(0) / tokens;
        float[] back = input.transform.shifts(x.size(1));
        for (int c = 0; c < back.length; c++) {
            back[c] = -back[c];
        }
        try (Scope scope = backend.scope()) {
            View shifts = vector(back, x.size(1), 0, scope);
            backend.parallel(images, (from, to, inner) -> {
                View own = x.slice(0, from * tokens, to * tokens);
                View target = decoded.slice(0, from * tokens, to * tokens);
                backend.decoded(own, grids.get(0), target);
                for (int image = 0; image < to - from && prefix > 0; image++) {
                    backend.decoded(own.slice(0, image * tokens, image * tokens + prefix), grids.get(1),
                            target.slice(0, image * tokens, image * tokens + prefix));
                }
                if (input.transform.shift() != 0) {
                    backend.add(target, shifts, target);
                }
            });
        }
    }
}
