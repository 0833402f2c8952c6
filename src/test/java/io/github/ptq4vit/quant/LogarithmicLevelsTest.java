package io.github.ptq4vit.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.CodeGrid;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Levels are those of the definition as far as signed bytes allow, and every number gets the nearest of them. */
class LogarithmicLevelsTest {

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 5, 6, 7, 8})
    void numbersGetTheNearestLevel(int bits) {
        for (int ratio : new int[] {1, 3, 8, 15, 37, 60}) {
            for (float top : new float[] {1, 0.37f, 208, 1e-3f}) {
                Quantizer quantizer = new Quantizer.Logarithmic(top, ratio, bits);
                for (int i = 0; i < (1 << bits) - 1; i++) {
                    double level = top * Math.pow(2, -i * ratio / 37.0);
                    // signed bytes err by half a step of the scale for large levels, and bounds are bfloat16 numbers
                    assertEquals(level, quantizer.quantize((float) level), level / 128 + top / 254, bits + " bits, ratio " + ratio + ", level " + i);
                }
                assertEquals(0, quantizer.quantize(0));
                assertEquals(top, quantizer.quantize(Float.MAX_VALUE), top * 1e-6);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 5, 6, 7, 8})
    void valuesIncreaseAndNoMoreCodesAreUsedThanTheBitsAllow(int bits) {
        for (int ratio : new int[] {1, 8, 37, 60}) {
            CodeGrid grid = new Quantizer.Logarithmic(1, ratio, bits).grid();
            assertEquals(1 << bits, grid.table().orElseThrow().levels());
            float before = -1;
            for (float x = 0; x < 1.1f; x += 1e-4f) {
                float value = grid.value(x);
                assertTrue(value >= before, "at " + x);
                before = value;
            }
        }
    }

    @ParameterizedTest
    @ValueSource(floats = {0, -1, Float.NaN, Float.POSITIVE_INFINITY})
    void aTopMustBePositive(float top) {
        assertThrows(IllegalArgumentException.class, () -> new Quantizer.Logarithmic(top, 8, 4));
    }
}
