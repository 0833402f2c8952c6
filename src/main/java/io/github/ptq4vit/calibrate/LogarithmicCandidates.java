package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.List;

/** The search space of logarithmic quantisers. */
final class LogarithmicCandidates {
    private static final double[] TOPS = {0.3, 0.5, 0.7, 0.85, 1};
    /** With this many bits there are levels to spare, and they may reach further down. */
    static final int MANY_BITS = 6;
    private static final int[] WIDER = {32, 40, 50};

    private LogarithmicCandidates() {
    }

    /**
     * Quantisers up to parts of the largest number.
     *
     * @param ratios of neighbours with 4 bits; those of other widths reach as far down with more or fewer levels
     */
    static List<Quantizer> of(float largest, int[] ratios, int bits) {
        List<Quantizer> candidates = new ArrayList<>();
        for (double part : TOPS) {
            float top = (float) Math.max(part * largest, 1e-30);
            for (int ratio : ratios) {
                candidates.add(candidate(top, ratio, bits));
            }
            for (int i = 0; i < WIDER.length && bits >= MANY_BITS; i++) {
                candidates.add(candidate(top, WIDER[i], bits));
            }
        }
        return candidates.stream().distinct().toList();
    }

    private static Quantizer candidate(float top, int ratio, int bits) {
        int own = Math.round(ratio * 15f / ((1 << bits) - 1));
        return new Quantizer.Logarithmic(top, Math.max(1, Math.min(60, own)), bits);
    }
}
