package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Finds the quantisers of attention's products, one a head and operand, each with the other operand in float32, by the Hessian
 * metric.
 */
final class AttentionSearch {
    /** Of 4 bits: neighbours from a quarter apart to more than a half. */
    private static final int[] RATIOS = {12, 15, 18, 22, 26, 31, 37, 45};
    private static final int THRESHOLDS = 12;
    /** The smallest largest level that is tried, as a part of the largest number. */
    private static final double SMALLEST_PART = 0.3;

    private final Backend backend;
    private final BestConfig config;

    AttentionSearch(Backend backend, BestConfig config) {
        this.backend = backend;
        this.config = config;
    }

    /**
     * A product's quantisers.
     *
     * @param left what the left operand's lose with the right one in float32
     * @param right what the right operand's lose with the left one in float32
     * @param curves of all candidates
     */
    record Found(QuantizedLayer layer, double left, double right, List<LayerRecord.Curve> curves) {
    }

    Found run(LayerData data, int bits) {
        int heads = data.left().size(1);
        boolean probabilities = data.layer().input() == Distribution.SOFTMAX;
        RowScale ranges = config.isDynamic() ? RowScale.RANGE : RowScale.NONE;
        RowScale rows = !probabilities ? ranges : config.has(Ingredient.ROW_SUMS) ? RowScale.SUM : RowScale.NONE;
        List<List<RangeSearch.Found>> lefts = new ArrayList<>();
        List<List<RangeSearch.Found>> rights = new ArrayList<>();
        for (int head = 0; head < heads; head++) {
            try (Scope scope = backend.scope()) {
                Head own = new Head(data, head, scope);
                lefts.add(probabilities ? own.probabilities(bits, rows) : own.centred(true, bits));
                rights.add(own.centred(false, bits));
            }
        }
        List<RangeSearch.Found> left = bestKind(lefts);
        List<RangeSearch.Found> right = bestKind(rights);
        QuantizedLayer layer = new QuantizedLayer(data.layer().name(), left.stream().map(RangeSearch.Found::quantizer).toList(),
                right.stream().map(RangeSearch.Found::quantizer).toList(), new byte[0], InputTransform.NONE.withRows(rows, ranges));
        List<LayerRecord.Curve> curves = new ArrayList<>(curves(Operand.LEFT, lefts));
        curves.addAll(curves(Operand.RIGHT, rights));
        return new Found(layer, loss(left), loss(right), curves);
    }

    private static List<LayerRecord.Curve> curves(Operand operand, List<List<RangeSearch.Found>> heads) {
        return IntStream.range(0, heads.size()).boxed()
                .flatMap(head -> heads.get(head).stream().flatMap(found -> found.curves(operand, head).stream())).toList();
    }

    /** Of the best quantisers of each kind, by head, those of the kind that loses least: all heads have quantisers of one kind. */
    private static List<RangeSearch.Found> bestKind(List<List<RangeSearch.Found>> heads) {
        return IntStream.range(0, heads.get(0).size()).mapToObj(kind -> heads.stream().map(kinds -> kinds.get(kind)).toList())
                .min(Comparator.comparingDouble(AttentionSearch::loss)).orElseThrow();
    }

    private static double loss(List<RangeSearch.Found> heads) {
        return heads.stream().mapToDouble(RangeSearch.Found::loss).sum();
    }

    /** The products of one head, one an image (or window); all dense. */
    private final class Head {
        private final View left;
        /** The columns of the right operand as rows. */
        private final View columns;
        private final View output;
        private final View weight;

        Head(LayerData data, int head, Scope scope) {
            this.left = dense(data.left(), head, scope);
            this.columns = dense(data.right().orElseThrow().transpose(), head, scope);
            this.output = dense(data.output(), head, scope);
            this.weight = dense(data.gradient().orElseThrow(), head, scope);
        }

        private View dense(View all, int head, Scope scope) {
            View own = all.slice(1, head, head + 1).dropAxis(1);
            View copy = scope.floats(own.sizes());
            backend.parallel(own.size(0), (from, to, inner) -> backend.copy(own.slice(0, from, to), copy.slice(0, from, to)));
            return copy;
        }

        /** The best uniform quantiser, and the best companded one if that is wanted. */
        List<RangeSearch.Found> centred(boolean searchLeft, int bits) {
            RowScale rows = config.isDynamic() ? RowScale.RANGE : RowScale.NONE;
            float[] range = InputSearch.range(HostMatrix.of(searchLeft ? left : columns, backend));
            List<RangeSearch.Found> kinds = new ArrayList<>();
            kinds.add(config.isDynamic() ? best(RangeSearch.parts(bits), searchLeft, rows)
                    : RangeSearch.run(range[0], range[1], bits, candidates -> losses(candidates, searchLeft, rows)));
            if (config.has(Ingredient.COMPANDED) && bits <= Quantizer.Companded.MOST_BITS) {
                kinds.add(CompandedCandidates.best(config.isDynamic() ? 1 : Math.max(-range[0], range[1]), SMALLEST_PART, bits,
                        candidates -> best(candidates, searchLeft, rows)));
            }
            return kinds;
        }

        /** The best of each kind of quantiser. */
        List<RangeSearch.Found> probabilities(int bits, RowScale rows) {
            float largest = Math.max(InputSearch.range(HostMatrix.of(left, backend))[1], Float.MIN_NORMAL);
            List<RangeSearch.Found> kinds = new ArrayList<>();
            if (config.has(Ingredient.LOGARITHMIC_SOFTMAX)) {
                kinds.add(best(LogarithmicCandidates.of(largest, RATIOS, bits), true, rows));
            }
            if (bits >= 6 || kinds.isEmpty()) {
                List<Quantizer> twins = new ArrayList<>();
                for (int exponent = 0; exponent < THRESHOLDS; exponent++) {
                    twins.add(new Quantizer.SoftmaxTwin(exponent, bits, TwinRule.FREE));
                }
                kinds.add(best(twins, true, rows));
            }
            return kinds;
        }

        private RangeSearch.Found best(List<Quantizer> candidates, boolean searchLeft, RowScale rows) {
            return RangeSearch.Found.best(candidates, losses(candidates, searchLeft, rows));
        }

        private double[] losses(List<Quantizer> candidates, boolean searchLeft, RowScale rows) {
            double[] losses = new double[candidates.size()];
            List<CodeGrid> grids = candidates.stream().map(q -> q.grid().with(rows)).toList();
            int images = left.size(0);
            double[][] parts = new double[images][grids.size()];
            backend.parallel(images, (from, to, scope) -> {
                View some = (searchLeft ? left : columns).slice(0, from, to);
                View decoded = scope.floats(some.sizes());
                View product = scope.floats(output.slice(0, from, to).sizes());
                int elements = Math.toIntExact(product.elements() / (to - from));
                int[] flat = {1, to - from, elements};
                for (int i = 0; i < grids.size(); i++) {
                    backend.decoded(some, grids.get(i), decoded);
                    backend.matmul(searchLeft ? decoded : left.slice(0, from, to),
                            (searchLeft ? columns.slice(0, from, to) : decoded).transpose(), product);
                    double[] errors = backend.squaredErrors(product.reshape(flat), output.slice(0, from, to).reshape(flat),
                            Optional.of(weight.slice(0, from, to).reshape(flat)));
                    for (int image = from; image < to; image++) {
                        parts[image][i] = errors[image - from];
                    }
                }
            });
            for (double[] part : parts) {
                Arrays.setAll(losses, i -> losses[i] + part[i]);
            }
            return losses;
        }
    }
}
