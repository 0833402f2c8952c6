package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

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

    /** A quantiser and what it loses. */
    record Found(Quantizer quantizer, double loss) {
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
        Scored best = best(ranges, bits, losses);
        for (double step : STEPS) {
            for (int move = 0; move < MOST_MOVES; move++) {
                float more = (float) (1 + step);
                float less = (float) (1 - step);
                Scored next = best(List.of(new float[] {best.low * more, best.high}, new float[] {best.low * less, best.high},
                        new float[] {best.low, best.high * more}, new float[] {best.low, best.high * less}), bits, losses);
                if (next == null || !(next.loss < best.loss)) {
                    break;
                }
                best = next;
            }
        }
        return new Found(best.quantizer, best.loss);
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
