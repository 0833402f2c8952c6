package io.github.ptq4vit.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.quant.Quantizer.GeluTwin;
import io.github.ptq4vit.quant.Quantizer.SoftmaxTwin;
import io.github.ptq4vit.quant.Quantizer.Uniform;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QuantizerTest {
    private static final float GELU_MINIMUM = (float) Quantizer.GELU_MINIMUM;

    @Test
    void uniformCodesRoundHalvesToEvenAndEndAtBothEnds() {
        CodeGrid grid = new Uniform(0.5f, 4).grid();
        float[] numbers = {0, -0f, 0.25f, 0.75f, -0.25f, -0.75f, 3.5f, 3.75f, 100, -4, -4.25f, -4.75f, -100,
            Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.MIN_VALUE};
        int[] codes = {0, 0, 0, 2, 0, -2, 7, 7, 7, -8, -8, -8, -8, 7, -8, 0};
        for (int i = 0; i < numbers.length; i++) {
            assertEquals(codes[i], grid.code(0, numbers[i]), "code of " + numbers[i]);
            assertEquals(codes[i] * 0.5f, new Uniform(0.5f, 4).quantize(numbers[i]));
        }
    }

    @ParameterizedTest(name = "{0} bits")
    @ValueSource(ints = {2, 3, 4, 6, 8})
    void theSoftmaxThresholdItselfBelongsToTheLargerRange(int bits) {
        int largest = BitWidths.half(bits) - 1;
        for (int exponent = 0; exponent < SoftmaxTwin.THRESHOLDS; exponent++) {
            SoftmaxTwin twin = new SoftmaxTwin(exponent, bits, TwinRule.FREE);
            float s = twin.threshold();
            assertEquals(Math.pow(2, -exponent), s);
            CodeGrid grid = twin.grid();
            assertEquals(0, grid.code(0, s));
            assertEquals((int) Math.rint(s / (1f / largest)), grid.code(1, s));
            assertEquals(largest, grid.code(0, Math.nextDown(s)), "just below the threshold the smaller range is full");
            assertEquals(0, grid.code(1, Math.nextDown(s)));
            assertEquals(0, grid.code(0, Math.nextUp(s)));
            assertEquals(largest, grid.code(1, 1f));
            assertEquals(1, twin.quantize(1), 1e-6);
            assertEquals(0, twin.quantize(0));
            assertEquals(grid.ranges().get(1).step(), Math.scalb(grid.ranges().get(0).step(), exponent),
                    "the steps differ by a shift");
        }
    }

    @Test
    void aSoftmaxTwinNeverHasTwoCodesAndIsNeverOffByMoreThanItsStep() {
        Random random = new Random(1);
        for (TwinRule rule : TwinRule.values()) {
            for (int i = 0; i < 20_000; i++) {
                SoftmaxTwin twin = new SoftmaxTwin(random.nextInt(20), 2 + random.nextInt(7), rule);
                float x = (float) Math.min(1, Math.exp(-12 * random.nextDouble()));
                CodeGrid grid = twin.grid();
                assertTrue(grid.code(0, x) == 0 || grid.code(1, x) == 0);
                float low = grid.ranges().get(0).step();
                float high = grid.ranges().get(1).step();
                double off = Math.abs(twin.quantize(x) - x);
                double best = Math.min(nearest(x, low, BitWidths.half(twin.bits()) - 1),
                        nearest(x, high, BitWidths.half(twin.bits()) - 1));
                if (rule == TwinRule.NEAREST) {
                    assertEquals(best, off, 1e-7);
                } else {
                    assertTrue(off <= (x < twin.threshold() ? low : high) * 0.5001, twin + " makes " + twin.quantize(x) + " of " + x);
                }
            }
        }
    }

    private static double nearest(float x, float step, int largest) {
        return Math.abs(x - Math.min(largest, Math.rint(x / step)) * step);
    }

    @ParameterizedTest(name = "{0} bits")
    @ValueSource(ints = {2, 3, 4, 6, 8})
    void aGeluTwinCoversTheMinimumAndMeetsItselfAtZero(int bits) {
        int q = BitWidths.half(bits);
        for (TwinRule rule : TwinRule.values()) {
            GeluTwin twin = GeluTwin.of(0.37f, bits, rule);
            CodeGrid grid = twin.grid();
            for (float zero : new float[] {0f, -0f}) {
                assertEquals(0, grid.code(0, zero));
                assertEquals(0, grid.code(1, zero));
                assertEquals(0, twin.quantize(zero));
            }
            assertEquals(0, grid.code(1, -1));
            assertEquals(0, grid.code(0, 1));
            assertEquals(q - 1, grid.code(1, 1000));
            assertEquals(-q, grid.code(0, -1000));
            assertTrue(twin.negativeScale() * (double) q >= -Quantizer.GELU_MINIMUM * (1 - 1e-7), "covers the minimum");
            assertEquals(GELU_MINIMUM, twin.quantize(GELU_MINIMUM), twin.negativeScale() * 0.5001);
            assertEquals(0, grid.code(1, Math.nextDown(0f)));
        }
        GeluTwin free = GeluTwin.of(0.37f, bits, TwinRule.FREE);
        assertEquals((float) (0.16997124254703522 / q), free.negativeScale(), "the reference's fixed step, to the last bit");
        assertEquals(-q, free.grid().code(0, GELU_MINIMUM));
        assertEquals(free, GeluTwin.of(0.37f, bits, TwinRule.NEAREST));
    }

    @ParameterizedTest(name = "{0} bits")
    @ValueSource(ints = {2, 3, 4, 6, 8})
    void alignedGeluScalesDifferByThePowerOfTwoThatJustCoversTheMinimum(int bits) {
        int q = BitWidths.half(bits);
        float smallest = (float) (-Quantizer.GELU_MINIMUM / q);
        List<Float> scales = new ArrayList<>(List.of(1e-6f, smallest, Math.nextDown(smallest), Math.nextUp(smallest), 2 * smallest,
                Math.nextDown(2 * smallest), Math.nextUp(2 * smallest), 1f, 200f, 1e10f));
        Random random = new Random(bits);
        for (int i = 0; i < 1000; i++) {
            scales.add((float) Math.exp(10 * random.nextGaussian() - 3));
        }
        for (float positive : scales) {
            GeluTwin twin = GeluTwin.of(positive, bits, TwinRule.ALIGNED);
            assertEquals(positive, twin.positiveScale());
            float ratio = positive / twin.negativeScale();
            assertEquals(ratio, Math.scalb(1f, Math.getExponent(ratio)), "a power of two");
            assertTrue(twin.negativeScale() >= smallest, "covers the minimum at " + positive);
            assertTrue(twin.negativeScale() / 2 < smallest, "no finer than needed at " + positive);
        }
    }

    @Test
    void noQuantiserHasACodeForNan() {
        for (Quantizer quantizer : List.of(new Uniform(1, 8), new SoftmaxTwin(3, 8, TwinRule.FREE),
                new SoftmaxTwin(3, 8, TwinRule.NEAREST), GeluTwin.of(1, 8, TwinRule.FREE))) {
            assertThrows(IllegalArgumentException.class, () -> quantizer.quantize(Float.NaN));
        }
    }

    @ParameterizedTest
    @ValueSource(floats = {0f, -1f, Float.NaN, Float.POSITIVE_INFINITY})
    void aScaleIsPositiveAndFinite(float scale) {
        assertThrows(IllegalArgumentException.class, () -> new Uniform(scale, 8).grid());
        assertThrows(IllegalArgumentException.class, () -> new GeluTwin(0.1f, scale, 8).grid());
    }

    @Test
    void bitWidthsOutOfRangeAreRefusedWithTheRange() {
        for (int bits : new int[] {-1, 0, 1, 9, 32}) {
            for (BitWidthsOf of : List.<BitWidthsOf>of(b -> new BitWidths(b, 8), b -> new BitWidths(8, b))) {
                String message = assertThrows(IllegalArgumentException.class, () -> of.make(bits)).getMessage();
                assertTrue(message.contains("from 2 to 8") && message.endsWith("not " + bits), message);
            }
        }
        assertEquals("W4A8", new BitWidths(4, 8).toString());
    }

    @FunctionalInterface
    private interface BitWidthsOf {
        BitWidths make(int bits);
    }

    @Test
    void weightRowsAreSplitEvenlyOverTheirQuantisers() {
        List<Quantizer> thirds = List.of(new Uniform(1, 4), new Uniform(2, 4), new Uniform(0.5f, 4));
        float[] weight = {1, -2, 3, -4, 2, 4, 6, -8, 1, -9, 0.5f, 0.25f};
        byte[] codes = QuantizedLayer.codes(weight, thirds);
        assertArrayEquals(new byte[] {1, -2, 3, -4, 1, 2, 3, -4, 2, -8, 1, 0}, codes);
        QuantizedLayer layer = new QuantizedLayer("layer", List.of(), thirds, codes);
        assertArrayEquals(new float[] {1, 1, 2, 2, 0.5f, 0.5f}, layer.weightSteps(6));
    }
}
