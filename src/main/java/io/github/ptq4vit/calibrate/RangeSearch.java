package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;

/**
 * Finds the range {@code [low, high]} of an affine quantiser: first both ends shrink together, then each moves by itself by ever
 * smaller steps for as long as that helps.
 */
final class RangeSearch {
    private static final int SHRINKS = 26;
    private static final double SHRINK = 0.032;
    private static final double[] STEPS = {0.15, 0.07, 0.035};
    private static final int MOST_MOVES = 4;
    private static final double[] PARTS = {1, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5};

    private RangeSearch() {
    }

    /** A range and what it loses. */
    private record Scored(float low, float high, Quantizer quantizer, double loss) {
    }

    /**
     * A quantiser and what it loses.
     *
     * @param tried the candidates that it was chosen from
     * @param losses of those, NaN for one that cannot be the best
     */
    record Found(Quantizer quantizer, double loss, List<Quantizer> tried, double[] losses) {

        /** The first one with the smallest loss. */
        static Found best(List<Quantizer> candidates, double[] losses) {
            int best = -1;
            for (int i = 0; i < losses.length; i++) {
                best = !Double.isNaN(losses[i]) && (best < 0 || losses[i] < losses[best]) ? i : best;
            }
            if (best < 0) {
                throw new CalibrationException("No candidate has a loss: the calibration data are not finite");
            }
            return new Found(candidates.get(best), losses[best], candidates, losses);
        }

        /** The same with losses multiplied by a factor. */
        Found times(double factor) {
            return new Found(quantizer, loss * factor, tried, DoubleStream.of(losses).map(one -> one * factor).toArray());
        }

        /** The same after a search that went before. */
        Found after(Found earlier) {
            return new Found(quantizer, loss, Stream.concat(earlier.tried.stream(), tried.stream()).toList(),
                    DoubleStream.concat(DoubleStream.of(earlier.losses), DoubleStream.of(losses)).toArray());
        }

        /** The candidates and their losses, for the record. */
        List<LayerRecord.Curve> curves(Operand operand, int group) {
            return LayerRecord.Curve.of(operand, group, tried, losses);
        }
    }

    /**
     * The best range.
     *
     * @param low the smallest number there is
     * @param high the largest
     * @param losses of candidates, NaN for one that cannot be the best
     */
    static Found run(float low, float high, int bits, Function<List<Quantizer>, double[]> losses) {
        List<float[]> ranges = new ArrayList<>();
        for (int i = 0; i < SHRINKS; i++) {
            float factor = (float) (1 - i * SHRINK);
            ranges.add(new float[] {low * factor, high * factor});
        }
        List<Quantizer> tried = new ArrayList<>();
        List<double[]> parts = new ArrayList<>();
        Function<List<Quantizer>, double[]> noted = candidates -> {
            double[] found = losses.apply(candidates);
            tried.addAll(candidates);
            parts.add(found);
            return found;
        };
        Scored best = best(ranges, bits, noted);
        for (double step : STEPS) {
            for (int move = 0; move < MOST_MOVES; move++) {
                float more = (float) (1 + step);
                float less = (float) (1 - step);
                Scored next = best(List.of(new float[] {best.low * more, best.high}, new float[] {best.low * less, best.high},
                        new float[] {best.low, best.high * more}, new float[] {best.low, best.high * less}), bits, noted);
                if (next == null || !(next.loss < best.loss)) {
                    break;
                }
                best = next;
            }
        }
        return new Found(best.quantizer, best.loss, tried, parts.stream().flatMapToDouble(DoubleStream::of).toArray());
    }

    /** Quantisers that cover a part of a row's range, for {@link io.github.ptq4vit.backend.RowScale#RANGE}. */
    static List<Quantizer> parts(int bits) {
        List<Quantizer> candidates = new ArrayList<>();
        for (double part : PARTS) {
            candidates.add(new Quantizer.Affine((float) (part / ((1 << bits) - 1)), BitWidths.half(bits), bits));
        }
        return candidates;
    }

    private static Scored best(List<float[]> ranges, int bits, Function<List<Quantizer>, double[]> losses) {
        List<Quantizer> candidates = ranges.stream().<Quantizer>map(r -> Quantizer.Affine.covering(r[0], r[1], bits)).toList();
        double[] found = losses.apply(candidates);
        Scored best = null;
        for (int i = 0; i < found.length; i++) {
            if (!Double.isNaN(found[i]) && (best == null || found[i] < best.loss)) {
                best = new Scored(ranges.get(i)[0], ranges.get(i)[1], candidates.get(i), found[i]);
            }
        }
        return best;
    }
}
