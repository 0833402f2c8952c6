package io.github.ptq4vit.artifact;

import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.DoubleStream;

/** Records with something of everything, the same for equal layers. */
final class TinyRecords {
    private TinyRecords() {
    }

    static LayerRecord of(QuantizedLayer layer) {
        Random random = new Random(layer.name().hashCode());
        float[] numbers = new float[1000];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) random.nextGaussian() * 1e-3f;
        }
        LayerRecord.Histogram histogram = LayerRecord.Histogram.of(numbers);
        List<LayerRecord.Curve> curves = new ArrayList<>();
        List<Quantizer> candidates = List.of(new Quantizer.Affine(0.1f, 3, 4), new Quantizer.Affine(1e-20f, 4, 4),
                new Quantizer.Companded(0.3f, 12, 4), new Quantizer.Uniform(0.1f, 4), new Quantizer.Logarithmic(0.7f, 22, 4));
        for (Operand operand : Operand.values()) {
            curves.addAll(LayerRecord.Curve.of(operand, 1, candidates, random.doubles(candidates.size()).toArray()));
        }
        boolean float32 = random.nextInt(4) == 0;
        LayerRecord.Cost cost = float32 ? new LayerRecord.Cost(1e-9, Double.NaN, Double.NaN) : LayerRecord.Cost.of(1.0 / 3, 0.1);
        List<Double> byBits = DoubleStream.of(random.doubles(7).toArray()).boxed().toList();
        LayerRecord record = new LayerRecord(layer.name(), cost, curves, Optional.empty(), Optional.empty(),
                float32 ? Optional.empty() : Optional.of(histogram), Optional.of(histogram));
        return random.nextBoolean() ? record : record.withByBits(new LayerRecord.ByBits(byBits, byBits))
                .withCheck(new LayerRecord.Check(0.01, 0.4, 0.02, Math.sqrt(2), 1));
    }
}
