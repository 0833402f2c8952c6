package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.inference.QuantizedArithmetic;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Layers from the patch embedding on. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ForwardQuantizationTest {
    private final Backend backend = new CpuBackend(2);

    @AfterAll
    void close() {
        backend.close();
    }

    static Stream<Architecture> architectures() {
        return CalibrationsTest.architectures();
    }

    private static CalibrationImages images(Architecture config) {
        return new CalibrationImages(List.of("a", "b", "c"), RandomVit.images(config, 3, 2));
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void withQuantizersOffEveryLayerSeesTheFloatNetworkToTheLastBit(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        Backend same = backend.reproducible();
        Map<String, List<float[]>> seen = new HashMap<>();
        Calibrations.forEachLayer(model, same, images(config), layer -> seen.put(layer.layer().name(), numbers(layer)));
        List<String> order = new ArrayList<>();
        Tensor logits = forward(model, same, layer -> {
            String name = layer.layer().name();
            order.add(name);
            List<float[]> before = seen.get(name);
            List<float[]> now = numbers(layer);
            for (int i = 0; i < now.size(); i++) {
                assertArrayEquals(before.get(i), now.get(i), name);
            }
            return Optional.empty();
        });
        assertEquals(config.layers().size(), order.size());
        assertEquals(config.embedding().name(), order.get(0));
        assertTrue(order.indexOf("blocks.0.attn.matmul2") <= order.indexOf("blocks.0.attn.proj"), order::toString);
        try (Classifier classifier = Classifier.of(same, model)) {
            assertArrayEquals(classifier.logits(images(config).pixels()).toArray(), logits.toArray());
        }
    }

    private static List<float[]> numbers(ObservedLayer layer) {
        return List.of(layer.left().toArray(), layer.right().toArray(), layer.output().toArray(), layer.gradients().toArray());
    }

    /** Returns the logits, the mean of the classifiers' outputs in float32. */
    private Tensor forward(VisionTransformer model, Backend device, Function<ObservedLayer, Optional<QuantizedLayer>> quantization) {
        Map<String, Tensor> outputs = new LinkedHashMap<>();
        try (Scope scope = device.scope()) {
            new LayerWalk(model, device, Optional.of(new LossGradient(GradientSource.FISHER, 2, 0)), images(model.config()), new Timings())
                    .runForward(walked -> new ForwardQuantization(model, device, scope, images(model.config()), walked, layer -> {
                        if (layer.layer().role() == LayerRole.HEAD) {
                            outputs.put(layer.layer().name(), layer.tryLeft(operand -> operand).output());
                        }
                        return quantization.apply(layer);
                    }));
        }
        int classes = model.config().classes();
        Tensor byImage = Tensor.zeros(3, outputs.size(), classes);
        int head = 0;
        for (Tensor output : outputs.values()) {
            for (int i = 0; i < output.data().limit(); i++) {
                byImage.data().put((i / classes * outputs.size() + head) * classes + i % classes, output.data().get(i));
            }
            head++;
        }
        return Network.meanOfHeads(byImage);
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void aSearchOnFloatInputsChoosesTheSameForwardsAsBackwards(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        CalibrationConfig recipe = CalibrationConfig.ptq4vit(new BitWidths(6, 6)).withRounds(1);
        assertEquals(choices(model, recipe, false), choices(model, recipe, true));
    }

    private Map<String, QuantizedLayer> choices(VisionTransformer model, CalibrationConfig recipe, boolean forward) {
        Map<String, QuantizedLayer> choices = new HashMap<>();
        Timings timings = new Timings();
        LayerWalk walk = new LayerWalk(model, backend, recipe.loss(), images(model.config()), timings);
        Function<LayerWalk.Walked, LayerWalk.Visitor> visitor = walked -> {
            LayerQuantization quantization = recipe.quantization(new Calibrating(model, backend, walked, timings, images(model.config()).ids().size()));
            return (name, unit, layers, scope) -> layers.forEach(
                    data -> choices.put(data.layer().name(), quantization.quantize(data, unit).layer()));
        };
        if (forward) {
            walk.runForward(visitor);
        } else {
            walk.run(visitor);
        }
        assertEquals(model.config().layers().size(), choices.size());
        return choices;
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void layersSeeWhatTheQuantizedLayersBeforeThemGive(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        List<QuantizedLayer> quantized = new ArrayList<>();
        Tensor seen = forward(model, backend, layer -> {
            if (layer.layer().role() == LayerRole.HEAD) {
                return Optional.empty();
            }
            quantized.add(CalibrationsTest.quantized(layer, 4));
            return Optional.of(quantized.get(quantized.size() - 1));
        });
        try (Scope scope = backend.scope()) {
            QuantizedArithmetic arithmetic = new QuantizedArithmetic(backend, scope, model, new FloatArithmetic(backend, scope, model));
            quantized.forEach(arithmetic::add);
            float[] expected = new Network(backend, scope, model).logits(arithmetic, images(config).pixels()).toArray();
            assertArrayEquals(expected, seen.toArray(), 1e-5f);
        }
        List<QuantizedLayer> forward = Calibrations.quantizedForward(model, backend, images(config), layer -> CalibrationsTest.quantized(layer, 4));
        assertEquals(config.layers().stream().map(Layer::name).toList(), forward.stream().map(QuantizedLayer::name).toList());
        assertNotEquals(forward, Calibrations.quantized(model, backend, images(config), layer -> CalibrationsTest.quantized(layer, 4)),
                "other inputs, other scales");
    }
}
