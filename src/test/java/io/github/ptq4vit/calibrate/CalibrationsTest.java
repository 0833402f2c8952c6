package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.SmallArchitectures;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Layers as researchers see them. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CalibrationsTest {
    private static final OperandQuantizer IDENTITY = operand -> operand;

    private final Backend backend = new CpuBackend(2);

    @AfterAll
    void close() {
        backend.close();
    }

    static Stream<Architecture> architectures() {
        return SmallArchitectures.all().stream().filter(config -> Set.of("distilled", "swin", "swiglu").contains(config.name()));
    }

    private static CalibrationImages images(Architecture config) {
        return new CalibrationImages(List.of("a", "b", "c"), RandomVit.images(config, 3, 2));
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void withQuantizersOffEveryLayerLeavesTheLogitsAsTheyAreToTheLastBit(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        CalibrationImages images = images(config);
        Backend same = backend.reproducible();
        float[] expected;
        try (Classifier classifier = Classifier.of(same, model)) {
            expected = classifier.logits(images.pixels()).toArray();
        }
        Set<String> seen = new HashSet<>();
        Calibrations.forEachLayer(model, same, images, layer -> {
            String name = layer.layer().name();
            assertTrue(seen.add(name), name);
            assertArrayEquals(expected, layer.logits().toArray(), name);
            LayerTrial trial = layer.tryBoth(IDENTITY, IDENTITY);
            assertArrayEquals(expected, trial.logits().toArray(), name);
            assertArrayEquals(layer.output().toArray(), trial.output().toArray(), name);
            assertEquals(0, trial.divergence(), 1e-12, name);
            assertEquals(0, trial.loss(CalibrationsTest::weighted), name);
        });
        assertEquals(config.layers().size(), seen.size());
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void whatIsChosenLayerByLayerIsAModel(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        CalibrationImages images = images(config);
        List<String> cheaper = new ArrayList<>();
        List<QuantizedLayer> layers = Calibrations.quantized(model, backend, images, layer -> {
            Quantizer left = covering(layer.left(), 8);
            Quantizer right = covering(layer.right(), 8);
            double fine = layer.tryBoth(OperandQuantizer.of(left), OperandQuantizer.of(right)).loss(CalibrationsTest::weighted);
            double coarse = layer.tryBoth(OperandQuantizer.of(covering(layer.left(), 3)), OperandQuantizer.of(covering(layer.right(), 3)))
                    .loss(CalibrationsTest::weighted);
            if (fine < coarse / 10) {
                cheaper.add(layer.layer().name());
            }
            return quantized(layer, 8);
        });
        List<String> names = config.layers().stream().map(Layer::name).toList();
        assertEquals(names, layers.stream().map(QuantizedLayer::name).toList());
        assertEquals(new HashSet<>(names), new HashSet<>(cheaper), "8 bits lose less than 3 in every layer");
        // the whole model is close to the float32 one, and not equal to it
        try (Classifier floats = Classifier.of(backend, model); Classifier codes = Classifier.of(backend, new QuantizedModel(model, layers))) {
            float[] expected = floats.logits(images.pixels()).toArray();
            float[] found = codes.logits(images.pixels()).toArray();
            double error = 0;
            double power = 0;
            for (int i = 0; i < expected.length; i++) {
                error += Math.pow(found[i] - expected[i], 2);
                power += Math.pow(expected[i], 2);
            }
            assertTrue(error > 0 && error < 0.02 * power, config.name() + ": " + error / power);
        }
    }

    /** By the scales that cover all numbers; the patch embedding's input stays in float32. */
    static QuantizedLayer quantized(ObservedLayer layer, int bits) {
        return layer.quantized(layer.layer().role() == LayerRole.PATCH_EMBEDDING ? List.of() : List.of(covering(layer.left(), bits)),
                List.of(covering(layer.right(), bits)), Rounding.NEAREST);
    }

    private static double weighted(Tensor output, Tensor candidate, Tensor gradients) {
        double sum = 0;
        for (int i = 0; i < output.data().limit(); i++) {
            sum += gradients.data().get(i) * Math.pow(output.data().get(i) - candidate.data().get(i), 2);
        }
        return sum;
    }

    private static Quantizer covering(Tensor operand, int bits) {
        float largest = Float.MIN_NORMAL;
        for (float x : operand.toArray()) {
            largest = Math.max(largest, Math.abs(x));
        }
        return new Quantizer.Uniform(largest / ((1 << bits - 1) - 0.5f), bits);
    }
}
