package io.github.ptq4vit.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.backend.Operand;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class LayerRecordTest {
    @Test
    void aHistogramCountsEveryNumberInItsPart() {
        float[] numbers = new float[64 * 3 + 1];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = -32 + i / 3f;
        }
        LayerRecord.Histogram histogram = LayerRecord.Histogram.of(numbers);
        assertEquals(-32, histogram.low());
        assertEquals(32, histogram.high());
        // the largest number belongs to the last part
        assertEquals(IntStream.range(0, 64).map(bin -> bin < 63 ? 3 : 4).boxed().toList(), histogram.counts());
    }

    @Test
    void equalNumbersAreInOnePart() {
        LayerRecord.Histogram histogram = LayerRecord.Histogram.of(new float[] {2, 2, 2});
        assertEquals(3, histogram.counts().get(0));
        assertEquals(3, histogram.counts().stream().mapToInt(Integer::intValue).sum());
        assertEquals(2, LayerRecord.Histogram.of(new float[] {-Float.MAX_VALUE, Float.MAX_VALUE}).counts().stream()
                .mapToInt(Integer::intValue).sum());
    }

    @Test
    void whatIsNotFiniteHasNoHistogram() {
        for (float[] numbers : List.of(new float[0], new float[] {1, Float.NaN}, new float[] {1, Float.POSITIVE_INFINITY})) {
            assertThrows(IllegalArgumentException.class, () -> LayerRecord.Histogram.of(numbers));
        }
    }

    @Test
    void candidatesAreSplitByKindAndThoseWithoutALossAreLeftOut() {
        Quantizer even = new Quantizer.Affine(0.5f, 8, 4);
        Quantizer other = new Quantizer.Affine(0.25f, 7, 4);
        Quantizer companded = new Quantizer.Companded(1, 12, 4);
        assertEquals(List.of(new LayerRecord.Curve(Operand.LEFT, 2, List.of(even, other), List.of(3f, 1f)),
                new LayerRecord.Curve(Operand.LEFT, 2, List.of(companded), List.of(2f))),
                LayerRecord.Curve.of(Operand.LEFT, 2, List.of(even, companded, other, companded), new double[] {3, 2, 1, Double.NaN}));
        assertEquals(List.of(), LayerRecord.Curve.of(Operand.RIGHT, 0, List.of(even), new double[] {Double.POSITIVE_INFINITY}));
    }
}
