package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeTable;

/** The table of codes of {@link Quantizer.Logarithmic}. */
final class LogarithmicLevels {
    private static final double OCTAVE = 37;
    /** Codes of one range that err by less than 1/32 of a level. */
    private static final int PRECISE = 16;
    private static final int LEAST_SHIFT = 4;
    private static final int MOST_SHIFT = 7;

    private LogarithmicLevels() {
    }

    /**
     * One range of scale {@code top / 127} if its bytes hold the smallest level well enough; else a second one for the smaller
     * levels, whose scale is a power of two smaller, as much as the smallest level asks for.
     */
    static CodeGrid grid(float top, int ratio, int bits) {
        int levels = (1 << bits) - 1;
        double smallest = level(levels - 1, ratio) * Byte.MAX_VALUE;
        boolean two = smallest < PRECISE;
        int shift = two ? LEAST_SHIFT : 0;
        while (two && shift < MOST_SHIFT && Math.scalb(smallest, shift) < PRECISE) {
            shift++;
        }
        byte[] coarse = new byte[levels + 1];
        byte[] fine = new byte[levels + 1];
        float[] bounds = new float[levels];
        for (int i = 0; i < levels; i++) {
            double value = level(levels - 1 - i, ratio);
            long small = Math.round(Math.scalb(value * Byte.MAX_VALUE, shift));
            if (two && small <= Byte.MAX_VALUE) {
                fine[i + 1] = (byte) small;
            } else {
                coarse[i + 1] = (byte) Math.round(value * Byte.MAX_VALUE);
            }
            double lower = i == 0 ? 0 : level(levels - i, ratio);
            bounds[i] = next(i == 0 ? 0 : bounds[i - 1], CodeTable.nearest((value + lower) / 2 * top));
        }
        float step = Math.max(top / Byte.MAX_VALUE, Float.MIN_NORMAL * (1 << MOST_SHIFT));
        return two ? CodeGrid.of(new CodeTable(bounds, coarse, fine), step, Math.scalb(step, -shift))
                : CodeGrid.of(new CodeTable(bounds, coarse), step);
    }

    /** The i-th largest level as a part of the largest. */
    private static double level(int i, int ratio) {
        return StrictMath.pow(2, -i * ratio / OCTAVE);
    }

    /** The bound itself, or where it would not exceed the one before it the bfloat16 after that one. */
    private static float next(float before, float bound) {
        return bound > before ? bound : Float.intBitsToFloat(Float.floatToRawIntBits(before) + 0x10000);
    }
}
