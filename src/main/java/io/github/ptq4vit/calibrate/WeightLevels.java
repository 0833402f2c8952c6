package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Codes that weights may have, times a scale: evenly spaced, or companded. */
final class WeightLevels {
    /** Of companded levels. */
    private static final int[] BENDS = {8, 12, 16, 20, 25};

    /** A quantiser with these levels. */
    @FunctionalInterface
    private interface Maker {
        Quantizer of(float scale);
    }

    private final int[] codes;
    private final double largest;
    private final Maker maker;

    private WeightLevels(int[] codes, double largest, Maker maker) {
        this.codes = codes;
        this.largest = largest;
        this.maker = maker;
    }

    /** All codes of a bit width with so many negative ones. */
    private static WeightLevels even(int zeroPoint, int bits) {
        return new WeightLevels(IntStream.range(-zeroPoint, (1 << bits) - zeroPoint).toArray(), BitWidths.half(bits) - 0.5,
                scale -> new Quantizer.Affine(scale, zeroPoint, bits));
    }

    private static WeightLevels companded(int bend, int bits) {
        CodeTable table = new Quantizer.Companded(1, bend, bits).grid().table().orElseThrow();
        return new WeightLevels(IntStream.range(0, table.levels()).map(level -> table.code(0, level)).toArray(), Byte.MAX_VALUE,
                scale -> new Quantizer.Companded(scale * Byte.MAX_VALUE, bend, bits));
    }

    /** Even levels: with one more code on the one side of 0 or on the other, but for 8 bits, which leave no room for that. */
    static List<WeightLevels> even(int bits) {
        int half = BitWidths.half(bits);
        return bits == BitWidths.MAX ? List.of(even(half, bits)) : List.of(even(half - 1, bits), even(half, bits));
    }

    /** Companded levels from nearly even to uneven; none for more bits than there are. */
    static List<WeightLevels> companded(int bits) {
        List<WeightLevels> levels = new ArrayList<>();
        for (int bend : BENDS) {
            if (bits <= Quantizer.Companded.MOST_BITS) {
                levels.add(companded(bend, bits));
            }
        }
        return levels;
    }

    /** The nearest code. */
    int code(double x) {
        int low = 0;
        int high = codes.length - 1;
        while (low < high) {
            int middle = (low + high) / 2;
            if (x <= (codes[middle] + codes[middle + 1]) / 2.0) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return codes[low];
    }

    /** The largest number that they cover. */
    double largest() {
        return largest;
    }

    /** The quantiser of a row. */
    Quantizer quantizer(float scale) {
        return maker.of(scale);
    }
}
