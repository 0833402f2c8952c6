package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;

/**
 * One byte for a value of a twin quantiser, so that twins take no more memory than uniform codes. The codes of the two ranges
 * are never both different from zero; the highest bit tells which one is meant, the seven bits below tell how much:
 *
 * <pre>
 * twin      bit 7 = 0                        bit 7 = 1
 * softmax   small range, code = bits 6..0    large range, code = bits 6..0
 * GELU      positive, code = bits 6..0       negative, code = bits 6..0 - 128
 * </pre>
 *
 * <p>So a GELU byte is the code itself in two's complement. Of softmax's bytes 0x80 is a second zero, which {@link #pack}
 * never gives. With b bits, the codes' magnitudes stay below 2^(b-1), of negative GELU at most that. See the paper, section
 * 3.1, for ranges and scales.
 */
public final class TwinCode {
    private static final int MAGNITUDE = 0x7f;
    private static final int RANGE = 0x80;

    private TwinCode() {
    }

    /** The byte of a value. */
    public static byte encode(Quantizer twin, float x) {
        CodeGrid grid = twin.grid();
        requireTwin(twin, grid);
        return pack(twin, grid.code(0, x), grid.code(1, x));
    }

    /** What a byte stands for. */
    public static float decode(Quantizer twin, byte packed) {
        CodeGrid grid = twin.grid();
        requireTwin(twin, grid);
        return code(twin, 0, packed) * grid.ranges().get(0).step() + code(twin, 1, packed) * grid.ranges().get(1).step();
    }

    /**
     * The byte of the codes of both ranges, in the order of {@link Quantizer#grid}.
     *
     * @throws IllegalArgumentException if both are different from zero, or one is not of its range
     */
    public static byte pack(Quantizer twin, int first, int second) {
        CodeGrid grid = twin.grid();
        requireTwin(twin, grid);
        int[] codes = {first, second};
        for (int range = 0; range < 2; range++) {
            if (codes[range] < grid.ranges().get(range).min() || codes[range] > grid.ranges().get(range).max()
                    || first != 0 && second != 0) {
                throw new IllegalArgumentException("No twin has the codes " + first + " and " + second + ": " + twin);
            }
        }
        if (twin instanceof Quantizer.GeluTwin) {
            return (byte) (first + second);
        }
        return (byte) (second == 0 ? first : RANGE | second);
    }

    /** The code of one of the two ranges in a byte. */
    public static int code(Quantizer twin, int range, byte packed) {
        boolean high = (packed & RANGE) != 0;
        if (twin instanceof Quantizer.GeluTwin) {
            return high == (range == 0) ? packed : 0;
        }
        return high == (range == 1) ? packed & MAGNITUDE : 0;
    }

    private static void requireTwin(Quantizer twin, CodeGrid grid) {
        if (grid.ranges().size() != 2) {
            throw new IllegalArgumentException("Only twins have two ranges, not " + twin);
        }
    }
}
