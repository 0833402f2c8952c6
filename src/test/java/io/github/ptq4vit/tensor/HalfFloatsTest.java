package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class HalfFloatsTest {

    @Test
    void everyF16PatternHasTheValueItsBitsSpell() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            double value = value(bits, 5, 10);
            assertSame((float) value, bits, HalfFloats.fromF16((short) bits));
        }
    }

    @Test
    void everyBf16PatternHasTheValueItsBitsSpell() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            double value = value(bits, 8, 7);
            assertSame((float) value, bits, HalfFloats.fromBf16((short) bits));
        }
    }

    /** The definition of IEEE 754: (-1)^s * 2^(e - bias) * (1 + f / 2^n), subnormal below, infinite and NaN above. */
    private static double value(int bits, int exponentBits, int fractionBits) {
        double sign = bits >= 1 << 15 ? -1 : 1;
        int exponent = bits / (1 << fractionBits) % (1 << exponentBits);
        double fraction = bits % (1 << fractionBits) / Math.pow(2, fractionBits);
        int top = (1 << exponentBits) - 1;
        int bias = top / 2;
        if (exponent == top) {
            return fraction == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
        }
        return exponent == 0 ? sign * fraction * Math.pow(2, 1 - bias)
                : sign * (1 + fraction) * Math.pow(2, exponent - bias);
    }

    private static void assertSame(float expected, int bits, float found) {
        // floatToIntBits tells -0 from 0 and makes all NaNs one.
        assertEquals(Float.floatToIntBits(expected), Float.floatToIntBits(found),
                () -> "pattern 0x" + Integer.toHexString(bits) + ": " + expected + " against " + found);
    }
}
