package io.github.ptq4vit.tensor;

/** Exact conversion of the two 16-bit floating point formats to float32. */
final class HalfFloats {
    private static final int F16_HIDDEN_BIT = 0x400;

    private HalfFloats() {
    }

    /** IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits) to float32. NaNs stay NaNs and keep their payload. */
    static float fromF16(short bits) {
        int sign = (bits & 0x8000) << 16;
        int exponent = bits >>> 10 & 0x1f;
        int fraction = bits & 0x3ff;
        if (exponent == 0x1f) {
            return Float.intBitsToFloat(sign | 0x7f800000 | fraction << 13);
        }
        if (exponent != 0) {
            return Float.intBitsToFloat(sign | exponent + 127 - 15 << 23 | fraction << 13);
        }
        if (fraction == 0) {
            return Float.intBitsToFloat(sign);
        }
        // A subnormal of binary16 is a normal number of binary32: shift until the hidden bit appears.
        int shift = Integer.numberOfLeadingZeros(fraction) - Integer.numberOfLeadingZeros(F16_HIDDEN_BIT);
        int shifted = fraction << shift & 0x3ff;
        return Float.intBitsToFloat(sign | 127 - 14 - shift << 23 | shifted << 13);
    }

    /** bfloat16 is the upper half of a float32. */
    static float fromBf16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }
}
