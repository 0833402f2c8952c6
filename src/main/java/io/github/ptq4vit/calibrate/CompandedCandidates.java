package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Finds companded levels: first coarsely all over the search space, then around the best. */
final class CompandedCandidates {
    private static final int[] BENDS = {6, 12, 18, 24, 30, 36};
    private static final int[] NEAR_BENDS = {-3, 0, 3};
    private static final double[] NEAR_TOPS = {0.95, 0.975, 1, 1.025, 1.05};
    private static final int TOPS = 13;

    private CompandedCandidates() {
    }

    /**
     * The best levels up to parts of a number.
     *
     * @param smallestPart the smallest part
     */
    static RangeSearch.Found best(float largest, double smallestPart, int bits, Function<List<Quantizer>, RangeSearch.Found> best) {
        List<Quantizer> coarse = new ArrayList<>();
        for (int bend : BENDS) {
            for (int i = 0; i < TOPS; i++) {
                coarse.add(candidate(largest * (1 - (1 - smallestPart) * i / (TOPS - 1)), bend, bits));
            }
        }
        RangeSearch.Found first = best.apply(coarse);
        Quantizer.Companded start = (Quantizer.Companded) first.quantizer();
        List<Quantizer> near = new ArrayList<>();
        for (int bend : NEAR_BENDS) {
            for (double top : NEAR_TOPS) {
                near.add(candidate(start.top() * top, start.bend() + bend, bits));
            }
        }
        return best.apply(near).after(first);
    }

    private static Quantizer candidate(double top, int bend, int bits) {
        return new Quantizer.Companded((float) Math.max(top, 1e-30), bend, bits);
    }
}
