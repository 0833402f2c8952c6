package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import java.util.List;

/**
 * Maps numbers to codes of b bits and back. With q = 2^(b-1), codes are from -q to q - 1 unless a quantiser says otherwise; 0
 * has code 0 unless a quantiser says otherwise.
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
        return grid().value(x);
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
     * One grid that reaches further on one side of 0 than on the other: {@code code = clamp(round(x / scale), -z, 2^b - 1 - z)}.
     * The zero point z is taken off the codes from the start, so that they are signed bytes and products need no correction; with 8
     * bits only z = 128 leaves room for that, and the grid is symmetric.
     *
     * @param scale positive
     * @param zeroPoint z, how many codes stand for negative numbers, from 0 to 2^b - 1
     * @param bits 2 to 8
     */
    record Affine(float scale, int zeroPoint, int bits) implements Quantizer {
        public Affine {
            if (-zeroPoint < Byte.MIN_VALUE || largest(zeroPoint, bits) > Byte.MAX_VALUE || zeroPoint < 0
                    || largest(zeroPoint, bits) < 0) {
                throw new IllegalArgumentException("A zero point of " + zeroPoint + " does not fit signed bytes of " + bits + " bits");
            }
        }

        /**
         * The grid that covers {@code [low, high]} and 0.
         *
         * @param low the smallest number to cover
         * @param high the largest
         */
        public static Affine covering(float low, float high, int bits) {
            int last = (1 << bits) - 1;
            float negative = Math.max(0, -low);
            float positive = Math.max(0, high);
            if (bits == BitWidths.MAX) {
                int q = BitWidths.half(bits);
                return new Affine(positive(Math.max(negative, positive) / (q - 0.5f)), q, bits);
            }
            int zeroPoint = Math.round(last * (negative / Math.max(Float.MIN_NORMAL, negative + positive)));
            // the ends of the range may lie half a step beyond the outermost points
            return new Affine(positive(Math.max(negative / (zeroPoint + 0.5f), positive / (last - zeroPoint + 0.5f))), zeroPoint, bits);
        }

        private static float positive(float scale) {
            return Math.max(scale, Float.MIN_NORMAL);
        }

        private static int largest(int zeroPoint, int bits) {
            return (1 << bits) - 1 - zeroPoint;
        }

        @Override
        public CodeGrid grid() {
            return CodeGrid.of(CodeRange.unlimited(scale, -zeroPoint, largest(zeroPoint, bits)));
        }
    }

    /**
     * Logarithmic levels for numbers that are not negative (AdaLog, Wu et al., arXiv 2407.12951): 0 and {@code top * 2^(-i k / 37)}
     * for i from 0 to 2^b - 2, told apart by the means of neighbours. The levels are rounded to signed bytes of one
     * or two scales ({@link LogarithmicLevels}), so that products of codes are products of bytes.
     *
     * @param top the largest level, positive
     * @param ratio k, 1 to 60: two neighbours differ by the factor 2^(k / 37)
     * @param bits 2 to 8
     */
    record Logarithmic(float top, int ratio, int bits) implements Quantizer {
        /** Largest k. */
        public static final int MOST_RATIO = 60;

        public Logarithmic {
            if (!(top > 0) || Float.isInfinite(top) || ratio < 1 || ratio > MOST_RATIO) {
                throw new IllegalArgumentException("Logarithmic levels have a positive top and a ratio from 1 to " + MOST_RATIO + ", not "
                        + top + " and " + ratio);
            }
        }

        @Override
        public CodeGrid grid() {
            return LogarithmicLevels.grid(top, ratio, bits);
        }
    }

    /**
     * Companded levels, denser around 0 than further out, for numbers whose distribution is about symmetric and has tails: {@code top *
     * sinh(c u) / sinh(c)} for the 2^b numbers u that divide [-1, 1] evenly, with {@code c = bend / 10}. None of them is 0, so that
     * negative and positive numbers have equally many. The levels are rounded to signed bytes of one scale ({@link CompandedLevels}).
     * Logarithmic companding is as old as digital telephony (ITU-T G.711); sinh is the smooth form of it.
     *
     * @param top the largest level, positive
     * @param bend how uneven the levels are, 1 to 50; the smaller, the closer to uniform
     * @param bits 2 to 6: with more, uniform levels are as dense as bytes are
     */
    record Companded(float top, int bend, int bits) implements Quantizer {
        /** Most bend. */
        public static final int MOST_BEND = 50;
        /** Most bits. */
        public static final int MOST_BITS = 6;

        public Companded {
            if (!(top > 0) || Float.isInfinite(top) || bend < 1 || bend > MOST_BEND || bits > MOST_BITS) {
                throw new IllegalArgumentException("Companded levels have a positive top, a bend from 1 to " + MOST_BEND
                        + " and at most " + MOST_BITS + " bits, not " + top + ", " + bend + " and " + bits);
            }
        }

        @Override
        public CodeGrid grid() {
            return CompandedLevels.grid(top, bend, bits);
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
