package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.Operand;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * How the quantisers of a layer were chosen, for those who want to understand a calibration afterwards; nothing is calculated with it.
 *
 * @param layer name
 * @param cost of what the search chose
 * @param curves what candidates lost, by operand and group
 * @param byBits what the layer costs at each bit width, where a plan of bit widths had that measured
 * @param check how the loss itself was asked, where it was
 * @param left the left operand as it is quantised: transformed, of some rows; none of a layer that stays float32
 * @param right the right operand as it is quantised: all of a weight, or of some products of attention
 */
public record LayerRecord(String layer, Cost cost, List<Curve> curves, Optional<ByBits> byBits, Optional<Check> check,
        Optional<Histogram> left, Optional<Histogram> right) {
    /** A layer with more groups, such as scales of output channels, has the curves of so many of them. */
    public static final int MOST_GROUPS = 32;

    public LayerRecord {
        curves = List.copyOf(curves);
    }

    /** Of a layer that stays float32. */
    public static LayerRecord unquantized(String layer) {
        return new LayerRecord(layer, new Cost(0, 0, 0), List.of(), Optional.empty(), Optional.empty(), Optional.empty(),
                Optional.empty());
    }

    /** The same with the answer of the loss. */
    public LayerRecord withCheck(Check answer) {
        return new LayerRecord(layer, cost, curves, byBits, Optional.of(answer), left, right);
    }

    /** The same with costs by bit width. */
    public LayerRecord withByBits(ByBits costs) {
        return new LayerRecord(layer, cost, curves, Optional.of(costs), check, left, right);
    }

    /**
     * The divergence from float32, in nats, that the Hessian metric estimates if only this layer is quantised.
     *
     * @param all of both operands; NaN if the search had another metric
     * @param left of the left operand alone; NaN if it was not measured alone
     * @param right of the right operand alone; NaN if it was not measured alone
     */
    public record Cost(double all, double left, double right) {

        /** Of operands that were quantised one at a time. */
        public static Cost of(double left, double right) {
            return new Cost(left + right, left, right);
        }
    }

    /**
     * Candidates of one kind for one operand, transformed as it was chosen to be, and what each loses by the search's metric, over all
     * calibration images; candidates that a progressive search gave up are not there. The last search counts where there were several.
     *
     * @param operand whose quantiser was searched
     * @param group of the operand: a head, a group of output channels; for inputs with quantisers of their own for prefix
     *     tokens 0 is the others and 1 the prefix tokens
     * @param candidates of one kind and bit width; weights of {@code best}, whose rows have scales of their own, are scored by
     *     levels, which stand here with a step of 1
     * @param losses of the candidates
     */
    public record Curve(Operand operand, int group, List<Quantizer> candidates, List<Float> losses) {
        public Curve {
            candidates = List.copyOf(candidates);
            losses = List.copyOf(losses);
            if (candidates.isEmpty() || candidates.size() != losses.size()) {
                throw new IllegalArgumentException(candidates.size() + " candidates have " + losses.size() + " losses");
            }
        }

        /** One curve a kind of quantiser of those candidates that have a loss. */
        public static List<Curve> of(Operand operand, int group, List<? extends Quantizer> candidates, double[] losses) {
            List<Curve> curves = new ArrayList<>();
            candidates.stream().map(Object::getClass).distinct().forEach(kind -> {
                List<Quantizer> own = new ArrayList<>();
                List<Float> found = new ArrayList<>();
                for (int i = 0; i < losses.length; i++) {
                    if (candidates.get(i).getClass() == kind && Float.isFinite((float) losses[i])) {
                        own.add(candidates.get(i));
                        found.add((float) losses[i]);
                    }
                }
                if (!own.isEmpty()) {
                    curves.add(new Curve(operand, group, own, found));
                }
            });
            return curves;
        }
    }

    /**
     * What a layer costs at {@link BitWidths#MIN} to {@link BitWidths#MAX} bits, in nats.
     *
     * @param weights by what the weights cost; zeros without weights
     * @param activations by what the other operands cost; zeros if they stay float32
     */
    public record ByBits(List<Double> weights, List<Double> activations) {
        public ByBits {
            weights = List.copyOf(weights);
            activations = List.copyOf(activations);
            int widths = BitWidths.MAX - BitWidths.MIN + 1;
            if (weights.size() != widths || activations.size() != widths) {
                throw new IllegalArgumentException("There are " + widths + " bit widths, not " + weights.size() + " and "
                        + activations.size());
            }
        }
    }

    /**
     * The loss itself, measured with this layer alone quantised: mean divergence of the predictions from float32, in nats.
     *
     * @param expected what the metric says of the scales that the search chose
     * @param before measured with those scales
     * @param after measured with the final scales
     * @param leftFactor the left operand's final scales over those that the search chose; 1 if they did not move
     * @param rightFactor the same of the right operand
     */
    public record Check(double expected, double before, double after, double leftFactor, double rightFactor) {

        /** Whether scales were moved. */
        public boolean moved() {
            return leftFactor != 1 || rightFactor != 1;
        }
    }

    /**
     * How numbers are distributed.
     *
     * @param low the smallest
     * @param high the largest
     * @param counts numbers in {@link #BINS} equal parts of {@code [low, high]}
     */
    public record Histogram(float low, float high, List<Integer> counts) {
        /** How many parts there are. */
        public static final int BINS = 64;

        public Histogram {
            counts = List.copyOf(counts);
            if (!(low <= high) || !Float.isFinite(low) || !Float.isFinite(high) || counts.size() != BINS
                    || counts.stream().anyMatch(count -> count < 0)) {
                throw new IllegalArgumentException("A histogram has a finite range and " + BINS + " counts, not " + low + " to " + high
                        + " and " + counts);
            }
        }

        /**
         * Of some numbers.
         *
         * @throws IllegalArgumentException if there are none, or some are not finite
         */
        public static Histogram of(float[] numbers) {
            float low = Float.POSITIVE_INFINITY;
            float high = Float.NEGATIVE_INFINITY;
            for (float x : numbers) {
                low = Math.min(low, x);
                high = Math.max(high, x);
            }
            int[] counts = new int[BINS];
            double perBin = BINS / ((double) high - low);
            for (float x : numbers) {
                counts[high > low ? (int) Math.min(BINS - 1, ((double) x - low) * perBin) : 0]++;
            }
            return new Histogram(low, high, IntStream.of(counts).boxed().toList());
        }
    }
}
