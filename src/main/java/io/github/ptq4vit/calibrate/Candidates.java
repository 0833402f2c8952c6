package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The search space of one operand: a quantiser per candidate and group, and the one to start from.
 *
 * @param start where the search begins, one a group
 * @param quantizers {@code [candidates][groups]}
 */
record Candidates(List<Quantizer> start, List<List<Quantizer>> quantizers) {

    int count() {
        return quantizers.size();
    }

    int groups() {
        return start.size();
    }

    /** The same as backends see them. */
    CandidateGrids grids() {
        return CandidateGrids.of(quantizers.stream().map(row -> row.stream().map(Quantizer::grid).toList()).toList());
    }

    /**
     * Uniform quantisers around the scales that cover the largest magnitudes: {@code d0 = max / (q - 1/2)}, candidates
     * {@code float32(alpha + i (beta - alpha) / n) * d0}.
     *
     * @param maxima largest magnitude of each group; a group of zeros counts as 1
     */
    static Candidates uniform(float[] maxima, int bits, CalibrationConfig config) {
        float[] starts = starts(maxima, bits);
        List<List<Quantizer>> quantizers = new ArrayList<>();
        for (int i = 0; i < config.candidates(); i++) {
            float factor = factor(i, config);
            quantizers.add(each(starts.length, g -> new Quantizer.Uniform(positive(factor * starts[g]), bits)));
        }
        return new Candidates(each(starts.length, g -> new Quantizer.Uniform(starts[g], bits)), quantizers);
    }

    /** GELU twins around the positive scale that covers the maximum. */
    static Candidates geluTwin(float maximum, int bits, CalibrationConfig config) {
        float start = starts(new float[] {Math.max(maximum, 0)}, bits)[0];
        List<List<Quantizer>> quantizers = new ArrayList<>();
        for (int i = 0; i < config.candidates(); i++) {
            quantizers.add(List.of(Quantizer.GeluTwin.of(positive(factor(i, config) * start), bits, config.twinRule())));
        }
        return new Candidates(List.of(Quantizer.GeluTwin.of(start, bits, config.twinRule())), quantizers);
    }

    /** Softmax twins of every threshold, for one group or several. */
    static Candidates softmaxTwin(int bits, TwinRule rule, int groups) {
        List<List<Quantizer>> quantizers = new ArrayList<>();
        for (int exponent = 0; exponent < Quantizer.SoftmaxTwin.THRESHOLDS; exponent++) {
            quantizers.add(Collections.nCopies(groups, new Quantizer.SoftmaxTwin(exponent, bits, rule)));
        }
        return new Candidates(quantizers.get(0), quantizers);
    }

    private static float[] starts(float[] maxima, int bits) {
        float[] starts = new float[maxima.length];
        for (int g = 0; g < maxima.length; g++) {
            if (!Float.isFinite(maxima[g])) {
                throw CalibrationException.notFinite(maxima[g]);
            }
            starts[g] = positive((maxima[g] == 0 ? 1 : maxima[g]) / (BitWidths.half(bits) - 0.5f));
        }
        return starts;
    }

    private static float factor(int i, CalibrationConfig config) {
        return (float) (config.alpha() + i * (config.beta() - config.alpha()) / config.candidates());
    }

    private static float positive(float scale) {
        return Math.max(scale, Float.MIN_NORMAL);
    }

    private static List<Quantizer> each(int groups, java.util.function.IntFunction<Quantizer> make) {
        return IntStream.range(0, groups).mapToObj(make).toList();
    }
}
