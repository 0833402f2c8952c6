package io.github.ptq4vit.backend.cpu;

import java.nio.FloatBuffer;
import java.util.Arrays;

/** Plain loops over native memory, copied piecewise to arrays; comparisons that are fast before the compiler optimises. */
final class Reductions {
    private static final int PIECE = 4096;

    private Reductions() {
    }

    static float[] maxima(FloatBuffer x, int outer, int groups, int inner, boolean absolute) {
        float[] maxima = new float[groups];
        Arrays.fill(maxima, Float.NEGATIVE_INFINITY);
        float[] piece = new float[Math.min(inner, PIECE)];
        int at = 0;
        for (int o = 0; o < outer; o++) {
            for (int g = 0; g < groups; g++) {
                for (int start = 0; start < inner; start += PIECE) {
                    int length = Math.min(PIECE, inner - start);
                    x.get(at, piece, 0, length);
                    at += length;
                    maxima[g] = Math.max(maxima[g], absolute ? largestMagnitude(piece, length) : largest(piece, length));
                }
            }
        }
        return maxima;
    }

    /** Without a sign the bits of numbers are in the numbers' order, NaN beyond infinity. */
    private static float largestMagnitude(float[] numbers, int count) {
        int largest = 0;
        for (int i = 0; i < count; i++) {
            int bits = Float.floatToRawIntBits(numbers[i]) & Integer.MAX_VALUE;
            if (bits > largest) {
                largest = bits;
            }
        }
        return Float.intBitsToFloat(largest);
    }

    private static float largest(float[] numbers, int count) {
        float largest = Float.NEGATIVE_INFINITY;
        boolean defined = true;
        for (int i = 0; i < count; i++) {
            float number = numbers[i];
            if (number > largest) {
                largest = number;
            }
            defined &= !Float.isNaN(number);
        }
        return defined ? largest : Float.NaN;
    }

    static double[] rowSums(FloatBuffer x, int columns) {
        double[] sums = new double[x.limit() / columns];
        float[] row = new float[columns];
        for (int i = 0; i < sums.length; i++) {
            x.get(i * columns, row);
            sums[i] = sum(row);
        }
        return sums;
    }

    /** Four chains of additions, none of which waits for another. */
    private static double sum(float[] numbers) {
        double a = 0;
        double b = 0;
        double c = 0;
        double d = 0;
        int i = 0;
        for (; i < numbers.length - 3; i += 4) {
            a += numbers[i];
            b += numbers[i + 1];
            c += numbers[i + 2];
            d += numbers[i + 3];
        }
        for (; i < numbers.length; i++) {
            a += numbers[i];
        }
        return a + b + (c + d);
    }
}
