package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Finds how the input of a linear layer is best quantised. */
final class LinearInput {
    private static final int HADAMARD_BLOCK = 64;
    /** Just more than what makes GELU's outputs positive. */
    private static final float GELU_SHIFT = 0.17f;
    private static final double[] POWERS = {0, 0.25, 0.5, 0.75, 1};
    /** Of 4 bits: neighbours from a tenth apart to more than a third. */
    private static final int[] RATIOS = {6, 8, 10, 12, 15, 18, 22, 26};
    /** How much an error of the weights counts, compared with one of the inputs, when channel factors are chosen. */
    private static final double WEIGHT_PART = 0.45;
    /** The smallest largest level that is tried, as a part of the largest number, and of the range of a row. */
    private static final double STATIC_PART = 0.25;
    private static final double DYNAMIC_PART = 0.2;
    private static final int TWINS = 60;
    private static final double TWIN_STEP = 0.015;

    private final Backend backend;
    private final BestConfig config;
    private final LinearLayer layer;
    private final TransformedInputs transformed;
    private final BitWidths bits;
    private final int prefix;

    LinearInput(Backend backend, BestConfig config, LinearLayer layer, TransformedInputs transformed, BitWidths bits) {
        this.backend = backend;
        this.config = config;
        this.layer = layer;
        this.transformed = transformed;
        this.bits = bits;
        this.prefix = config.has(Ingredient.PREFIX_RANGES) && !config.isDynamic() ? layer.prefix() : 0;
    }

    /** The best that was found. */
    InputChoice best() {
        try (Scope scope = backend.scope()) {
            return layer.data().layer().input() == Distribution.GELU ? gelu(scope) : centred(scope);
        }
    }

    private InputChoice centred(Scope scope) {
        InputTransform transform = InputTransform.NONE.withHadamard(hadamard()).withPrefixTokens(prefix)
                .withRows(config.isDynamic() ? RowScale.RANGE : RowScale.NONE, RowScale.NONE);
        LayerData own = layer.with(transformed.of(layer.data().left(), transform, scope));
        Tensor weight = layer.weightTensor(transform);
        boolean companded = config.has(Ingredient.COMPANDED) && bits.activations() <= Quantizer.Companded.MOST_BITS;
        List<List<RangeSearch.Found>> found = new ArrayList<>();
        double[] losses = new double[companded ? 2 : 1];
        for (int[] rows : prefix == 0 ? List.of(layer.allRows()) : List.of(layer.ordinaryRows(), layer.prefixRows())) {
            LayerData some = prefix == 0 ? own : InputSearch.rows(own, rows, backend, scope);
            List<RangeSearch.Found> kinds = kinds(some, weight, layer.bias(transform), companded);
            found.add(kinds);
            for (int kind = 0; kind < losses.length; kind++) {
                // rows that no gradient reaches are compared as if all counted alike, but cost nothing
                losses[kind] += layer.gradient().isZero(rows) ? 0 : kinds.get(kind).loss();
            }
        }
        int kind = companded && losses[1] < losses[0] ? 1 : 0;
        List<LayerRecord.Curve> curves = IntStream.range(0, found.size()).boxed()
                .flatMap(group -> found.get(group).stream().flatMap(one -> one.curves(Operand.LEFT, group).stream())).toList();
        return new InputChoice(transform, found.stream().map(kinds -> kinds.get(kind).quantizer()).toList(), curves, losses[kind]);
    }

    /** The best uniform levels, and the best companded ones if they are wanted. */
    private List<RangeSearch.Found> kinds(LayerData data, Tensor weight, Optional<Tensor> bias, boolean companded) {
        List<RangeSearch.Found> kinds = new ArrayList<>();
        try (Scope scope = backend.scope()) {
            if (config.isDynamic()) {
                RowSearch search = new RowSearch(backend, scope, data, weight, bias);
                kinds.add(search.best(RangeSearch.parts(bits.activations())));
                if (companded) {
                    kinds.add(CompandedCandidates.best(1, DYNAMIC_PART, bits.activations(), search::best));
                }
                return kinds;
            }
            float[] range = InputSearch.range(HostMatrix.of(data.left(), backend));
            InputSearch search = new InputSearch(backend, scope, data, weight, bias);
            kinds.add(RangeSearch.run(range[0], range[1], bits.activations(), search::losses));
            if (companded) {
                kinds.add(CompandedCandidates.best(Math.max(-range[0], range[1]), STATIC_PART, bits.activations(), search::best));
            }
            return kinds;
        }
    }

    private int hadamard() {
        boolean spread = switch (layer.role()) {
            case QKV, FC1, FC2, REDUCTION, HEAD -> true;
            default -> false;
        };
        return spread && config.has(Ingredient.HADAMARD) ? Math.min(HADAMARD_BLOCK, Integer.lowestOneBit(layer.inputs())) : 1;
    }

    /**
     * GELU's outputs: logarithmic levels above GELU's minimum, with factors a channel that let large channels not decide alone, or
     * a twin, whichever loses less together with the weights.
     */
    private InputChoice gelu(Scope scope) {
        List<InputChoice> choices = new ArrayList<>();
        if (!config.has(Ingredient.LOGARITHMIC_GELU) || bits.activations() >= LogarithmicCandidates.MANY_BITS) {
            choices.add(twin());
        }
        if (config.has(Ingredient.LOGARITHMIC_GELU)) {
            double[] maxima = layer.x().columnMaxima();
            for (double power : config.has(Ingredient.CHANNEL_FACTORS) ? POWERS : new double[] {0}) {
                choices.add(logarithmic(InputTransform.NONE.withChannels(GELU_SHIFT, factors(maxima, power))
                        .withRows(config.isDynamic() ? RowScale.RANGE : RowScale.NONE, RowScale.NONE)));
            }
        }
        InputChoice best = null;
        double least = Double.POSITIVE_INFINITY;
        for (InputChoice choice : choices) {
            double loss = choice.loss() + WEIGHT_PART * layer.nearestLoss(choice.transform(), bits.weights());
            if (loss < least) {
                least = loss;
                best = choice;
            }
        }
        return prefix == 0 ? best : withPrefix(best, scope);
    }

    private InputChoice twin() {
        try (Scope scope = backend.scope()) {
            InputSearch search = new InputSearch(backend, scope, layer.data(), layer.weightTensor(InputTransform.NONE),
                    layer.bias(InputTransform.NONE));
            float largest = Math.max(InputSearch.range(layer.x())[1], Float.MIN_NORMAL);
            List<Quantizer> twins = new ArrayList<>();
            for (int i = 0; i < TWINS; i++) {
                float scale = (float) (largest * (1 - i * TWIN_STEP) / (BitWidths.half(bits.activations()) - 0.5));
                twins.add(Quantizer.GeluTwin.of(scale, bits.activations(), TwinRule.FREE));
            }
            RangeSearch.Found found = search.best(twins);
            return new InputChoice(InputTransform.NONE, List.of(found.quantizer()), found.curves(Operand.LEFT, 0), found.loss());
        }
    }

    private InputChoice logarithmic(InputTransform transform) {
        try (Scope scope = backend.scope()) {
            LayerData own = layer.with(transformed.of(layer.data().left(), transform, scope));
            Tensor weight = layer.weightTensor(transform);
            float top = config.isDynamic() ? 1 : InputSearch.range(HostMatrix.of(own.left(), backend))[1];
            List<Quantizer> candidates = LogarithmicCandidates.of(top, RATIOS, bits.activations());
            RangeSearch.Found found = config.isDynamic()
                    ? new RowSearch(backend, scope, own, weight, layer.bias(transform)).best(candidates)
                    : new InputSearch(backend, scope, own, weight, layer.bias(transform)).best(candidates);
            return new InputChoice(transform, List.of(found.quantizer()), found.curves(Operand.LEFT, 0), found.loss());
        }
    }

    /** Prefix tokens get a logarithmic quantiser of their own; a twin fits them like the others. */
    private InputChoice withPrefix(InputChoice choice, Scope scope) {
        InputTransform transform = choice.transform().withPrefixTokens(prefix);
        Quantizer usual = choice.quantizers().get(0);
        if (usual instanceof Quantizer.GeluTwin) {
            return new InputChoice(transform, List.of(usual, usual), choice.curves(), choice.loss());
        }
        LayerData own = layer.with(transformed.of(layer.data().left(), transform, scope));
        LayerData rows = InputSearch.rows(own, layer.prefixRows(), backend, scope);
        float top = InputSearch.range(HostMatrix.of(rows.left(), backend))[1];
        InputSearch search = new InputSearch(backend, scope, rows, layer.weightTensor(transform), layer.bias(transform));
        RangeSearch.Found ofPrefix = search.best(LogarithmicCandidates.of(top, RATIOS, bits.activations()));
        return new InputChoice(transform, List.of(usual, ofPrefix.quantizer()),
                Stream.concat(choice.curves().stream(), ofPrefix.curves(Operand.LEFT, 1).stream()).toList(), choice.loss());
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
}
