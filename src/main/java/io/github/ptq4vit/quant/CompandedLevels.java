package io.github.ptq4vit.quant;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeTable;

/** The table of codes of {@link Quantizer.Companded}. */
final class CompandedLevels {
    private static final double UNIT = 10;

    private CompandedLevels() {
    }

    /** One range of scale {@code top / 127}; bounds lie halfway between neighbours, as bfloat16. */
    static CodeGrid grid(float top, int bend, int bits) {
        int levels = 1 << bits;
        double c = bend / UNIT;
        float step = Math.max(top / Byte.MAX_VALUE, Float.MIN_NORMAL * Byte.MAX_VALUE);
        byte[] codes = new byte[levels];
        float[] bounds = new float[levels - 1];
        int before = 0;
        for (int i = levels / 2; i < levels; i++) {
            double u = (2.0 * i - (levels - 1)) / (levels - 1);
            // neighbours differ by at least one
            before = Math.max(before + 1, (int) Math.round(Byte.MAX_VALUE * StrictMath.sinh(c * u) / StrictMath.sinh(c)));
            codes[i] = (byte) before;
            codes[levels - 1 - i] = (byte) -codes[i];
        }
        for (int i = 0; i < bounds.length; i++) {
            bounds[i] = CodeTable.nearest((codes[i] + codes[i + 1]) / 2.0 * step);
        }
        return CodeGrid.of(new CodeTable(bounds, codes), step);
    }
}
