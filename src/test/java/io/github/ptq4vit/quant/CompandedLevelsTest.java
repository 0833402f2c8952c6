package io.github.ptq4vit.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeTable;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CompandedLevelsTest {
    @ParameterizedTest
    @CsvSource({"2, 1, 1", "2, 50, 3e-7", "3, 20, 0.37", "4, 1, 12.5", "4, 24, 2.1", "4, 50, 1e6", "5, 33, 1", "6, 12, 5", "6, 50, 0.01"})
    void levelsAreSymmetricBytesDenserAroundZero(int bits, int bend, float top) {
        CodeGrid grid = new Quantizer.Companded(top, bend, bits).grid();
        CodeTable table = grid.table().orElseThrow();
        int levels = 1 << bits;
        assertEquals(levels, table.levels());
        assertEquals(Byte.MAX_VALUE, table.code(0, levels - 1));
        for (int i = 0; i < levels; i++) {
            assertEquals(-table.code(0, i), table.code(0, levels - 1 - i));
        }
        for (int i = levels / 2 + 1; i < levels; i++) {
            int gap = table.code(0, i) - table.code(0, i - 1);
            assertTrue(gap >= 1, "levels " + i);
            // up to the rounding of three bytes
            assertTrue(i == levels / 2 + 1 || gap >= table.code(0, i - 1) - table.code(0, i - 2) - 2, "levels " + i);
        }
    }

    @Test
    void theFormulaHoldsUpToTheRoundingToBytes() {
        Quantizer.Companded q = new Quantizer.Companded(3, 20, 4);
        CodeTable table = q.grid().table().orElseThrow();
        for (int i = 0; i < 16; i++) {
            double u = (2 * i - 15) / 15.0;
            assertEquals(3 * Math.sinh(2 * u) / Math.sinh(2), 3 * table.code(0, i) / 127.0, 3 / 127.0 / 2 + 1e-6);
        }
    }

    @ParameterizedTest
    @CsvSource({"2, 30", "3, 20", "4, 24", "6, 18"})
    void numbersGoToTheNearestLevel(int bits, int bend) {
        Quantizer.Companded q = new Quantizer.Companded(2, bend, bits);
        CodeGrid grid = q.grid();
        CodeTable table = grid.table().orElseThrow();
        float step = grid.ranges().get(0).step();
        Random random = new Random(bits);
        for (int trial = 0; trial < 2000; trial++) {
            float x = (float) random.nextGaussian();
            double least = Double.POSITIVE_INFINITY;
            for (int i = 0; i < table.levels(); i++) {
                least = Math.min(least, Math.abs(x - table.code(0, i) * step));
            }
            // bounds are bfloat16
            assertTrue(Math.abs(x - q.quantize(x)) <= least + Math.abs(x) / 64, x + " became " + q.quantize(x));
        }
    }

    @Test
    void whatDoesNotFitIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> new Quantizer.Companded(0, 10, 4));
        assertThrows(IllegalArgumentException.class, () -> new Quantizer.Companded(1, 0, 4));
        assertThrows(IllegalArgumentException.class, () -> new Quantizer.Companded(1, 10, 7));
    }
}
