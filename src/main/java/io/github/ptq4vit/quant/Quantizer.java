package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import java.util.List;

/**
 * Maps numbers to codes of b bits and back. With q = 2^(b-1), codes are from -q to q - 1; all quantisers are symmetric: 0
 * has code 0.
 */
public sealed interface Quantizer {

    /** GELU's smallest value. */
    double GELU_MINIMUM = -0.16997124254703522;

    /** Bits of a code. */
    int bits();

    /** The same as backends see it. */
    CodeGrid grid();

    /**
     * The number that stands for {@code x} after quantisation.
     *
     * @throws IllegalArgumentException if x is NaN
     */
    default float quantize(float x) {
        if (Float.isNaN(x)) {
            throw new IllegalArgumentException("NaN has no code");
        }
        CodeGrid grid = grid();
        float sum = 0;
        for (int range = 0; range < grid.ranges().size(); range++) {
            sum += grid.code(range, x) * grid.ranges().get(range).step();
        }
        return sum;
    }

    /**
     * One grid: {@code code = clamp(round(x / scale), -q, q - 1)}.
     *
     * @param scale positive
     * @param bits 2 to 8
     */
    record Uniform(float scale, int bits) implements Quantizer {
        @Override
        public CodeGrid grid() {
            int q = BitWidths.half(bits);
            return CodeGrid.of(CodeRange.unlimited(scale, -q, q - 1));
        }
    }

    /**
     * Twin uniform quantiser of softmax outputs (PTQ4ViT, section 3.1): q codes on [0, s) and q on [s, 1] with
     * {@code s = 2^-exponent}; the larger scale is {@code 1 / (q - 1)}, the smaller {@code s} times that.
     *
     * @param exponent 0 to 19
     * @param bits 2 to 8
     * @param rule how values are told apart; FREE and ALIGNED are the same here
     */
    record SoftmaxTwin(int exponent, int bits, TwinRule rule) implements Quantizer {
        /** Number of thresholds to choose from. */
        public static final int THRESHOLDS = 20;

        /** The threshold s. */
        public float threshold() {
            return Math.scalb(1f, -exponent);
        }

        @Override
        public CodeGrid grid() {
            int largest = BitWidths.half(bits) - 1;
            float s = threshold();
            CodeRange low = new CodeRange(s / largest, 0, largest, Float.NEGATIVE_INFINITY, s);
            CodeRange high = new CodeRange(1f / largest, 0, largest, s, Float.POSITIVE_INFINITY);
            return new CodeGrid(List.of(low, high), rule == TwinRule.NEAREST);
        }
    }

    /**
     * Twin uniform quantiser of GELU outputs (PTQ4ViT, section 3.1): codes -q to 0 for the short negative side, 0 to
     * q - 1 for the long positive one.
     *
     * @param negativeScale scale of the negative codes
     * @param positiveScale scale of the positive codes
     * @param bits 2 to 8
     */
    record GeluTwin(float negativeScale, float positiveScale, int bits) implements Quantizer {

        /** The twin for a positive scale under a rule. The sides meet at 0, so NEAREST is the same as FREE. */
        public static GeluTwin of(float positiveScale, int bits, TwinRule rule) {
            float smallest = (float) (-GELU_MINIMUM / BitWidths.half(bits));
            if (rule != TwinRule.ALIGNED) {
                return new GeluTwin(smallest, positiveScale, bits);
            }
            // the largest m for which positive / 2^m still covers the minimum; negative m where even m = 0 does not
            int m = Math.getExponent(positiveScale / smallest);
            while (Math.scalb(positiveScale, -m) < smallest) {
                m--;
            }
            while (Math.scalb(positiveScale, -m - 1) >= smallest) {
                m++;
            }
            return new GeluTwin(Math.scalb(positiveScale, -m), positiveScale, bits);
        }

        @Override
        public CodeGrid grid() {
            int q = BitWidths.half(bits);
            return CodeGrid.of(CodeRange.unlimited(negativeScale, -q, 0), CodeRange.unlimited(positiveScale, 0, q - 1));
        }
    }
}
