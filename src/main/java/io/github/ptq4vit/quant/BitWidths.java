package io.github.ptq4vit.quant;

/**
 * Bits of a code, sign included.
 *
 * @param weights 2 to 8
 * @param activations 2 to 8; both operands of an attention product are activations
 */
public record BitWidths(int weights, int activations) {
    /** Fewest bits. */
    public static final int MIN = 2;
    /** Most bits: codes are signed bytes. */
    public static final int MAX = 8;

    public BitWidths {
        check("weights", weights);
        check("activations", activations);
    }

    private static void check(String what, int bits) {
        if (bits < MIN || bits > MAX) {
            throw new IllegalArgumentException("Bit width of " + what + " must be from " + MIN + " to " + MAX + ", for example 8, not "
                    + bits);
        }
    }

    /** Half the number of codes: 128 for 8 bits. */
    public static int half(int bits) {
        return 1 << (bits - 1);
    }

    /** As the literature writes it: {@code W8A8}. */
    @Override
    public String toString() {
        return "W" + weights + "A" + activations;
    }
}
