package io.github.ptq4vit.backend;

import java.util.Arrays;

/**
 * Codes that are looked up: up to 256 levels of increasing value, each with a signed byte for each range of a {@link CodeGrid}.
 * So a grid need not be uniform, and products of codes still are products of bytes.
 *
 * <p>Level i belongs to the numbers from {@code bounds[i - 1]} (inclusive) to {@code bounds[i]}. Numbers and bounds are
 * compared by the upper 16 bits of their float32 (a bfloat16, rounded towards 0), so that the level can also be read from a
 * table of 65536 entries. Immutable.
 */
public final class CodeTable {
    private static final int PATTERNS = 1 << 16;
    private static final int NEGATIVE = 1 << 15;
    private static final int INFINITY = 0x7f80;

    private final float[] bounds;
    private final byte[][] codes;
    private final byte[][] lookups;

    /**
     * A table.
     *
     * @param bounds smallest number of the second level, of the third, and so on; increasing bfloat16 numbers
     * @param codes {@code [ranges][levels]}
     */
    public CodeTable(float[] bounds, byte[]... codes) {
        this.bounds = bounds.clone();
        this.codes = Arrays.stream(codes).map(byte[]::clone).toArray(byte[][]::new);
        this.lookups = new byte[codes.length][];
        for (byte[] range : codes) {
            if (range.length != bounds.length + 1 || range.length > 256) {
                throw new IllegalArgumentException("A table of " + bounds.length + " bounds has " + (bounds.length + 1)
                        + " levels, at most 256, not " + range.length);
            }
        }
        for (int i = 0; i < bounds.length; i++) {
            if (bounds[i] != truncated(bounds[i]) || i > 0 && !(bounds[i] > bounds[i - 1]) || Float.isInfinite(bounds[i])) {
                throw new IllegalArgumentException("Bounds must be increasing bfloat16 numbers, not " + Arrays.toString(bounds));
            }
        }
    }

    /** A number with the lower half of its bits set to zero: a bfloat16, rounded towards 0. */
    public static float truncated(float x) {
        return Float.intBitsToFloat(Float.floatToRawIntBits(x) & 0xffff0000);
    }

    /** The nearest bfloat16 of a finite number. */
    public static float nearest(double x) {
        return truncated(Float.intBitsToFloat(Float.floatToRawIntBits((float) x) + 0x8000)) + 0f;
    }

    /** Number of levels. */
    public int levels() {
        return bounds.length + 1;
    }

    /** Smallest number of the level after this one. */
    public float bound(int level) {
        return bounds[level];
    }

    /** Number of ranges. */
    public int ranges() {
        return codes.length;
    }

    /** The code of a level in one of the ranges. */
    public int code(int range, int level) {
        return codes[range][level];
    }

    /** The level of a number, which may not be NaN: the plain definition that every backend agrees with. */
    public int level(float x) {
        float number = truncated(x);
        int level = 0;
        while (level < bounds.length && number >= bounds[level]) {
            level++;
        }
        return level;
    }

    /**
     * The code of every number in one of the ranges by its upper 16 bits, NaN as infinity of its sign; not to be written to.
     */
    public synchronized byte[] lookup(int range) {
        if (lookups[range] == null) {
            byte[] found = new byte[PATTERNS];
            // in the order of the numbers: negative ones from infinity to zero, then positive ones
            int level = 0;
            for (int i = 0; i < PATTERNS; i++) {
                int pattern = i < NEGATIVE ? PATTERNS - 1 - i : i - NEGATIVE;
                float number = Float.intBitsToFloat(Math.min(pattern & NEGATIVE - 1, INFINITY) << 16 | (pattern & NEGATIVE) << 16);
                while (level < bounds.length && number >= bounds[level]) {
                    level++;
                }
                found[pattern] = codes[range][level];
            }
            lookups[range] = found;
        }
        return lookups[range];
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CodeTable table && Arrays.equals(bounds, table.bounds) && Arrays.deepEquals(codes, table.codes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(bounds);
    }

    @Override
    public String toString() {
        return "levels from " + Arrays.toString(bounds) + ", codes " + Arrays.deepToString(codes);
    }
}
