package io.github.ptq4vit.export;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.evaluate.Classifier;
import io.github.ptq4vit.evaluate.QuantizedArithmetic;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.SmallArchitectures;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Layer by layer ONNX Runtime computes from an exported model what this library computes from the same inputs. */
class OnnxLayersTest {
    private static final int IMAGES = 3;
    /**
     * Of the largest output of a layer: sums of at most 256 products, each and the sum rounded to 24 bits in either runtime.
     * One code more or less is at least ten times as much.
     */
    private static final double ROUNDING = 3e-6;

    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = Backends.open("cpu", OptionalInt.of(2));
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    static List<Architecture> architectures() {
        return SmallArchitectures.all();
    }

    static Stream<Arguments> quantisations() {
        List<Architecture> all = architectures();
        Stream<Arguments> kinds = all.stream().map(config -> Arguments.of(config, new BitWidths(8, 8), TwinRule.FREE));
        Stream<Arguments> bits = Stream.of(new BitWidths(6, 6), new BitWidths(4, 8), new BitWidths(4, 4), new BitWidths(3, 5))
                .flatMap(b -> Stream.of(all.get(0), all.get(6)).map(config -> Arguments.of(config, b, TwinRule.FREE)));
        Stream<Arguments> rules = Stream.of(TwinRule.ALIGNED, TwinRule.NEAREST)
                .flatMap(rule -> Stream.of(8, 5).map(b -> Arguments.of(all.get(0), new BitWidths(b, b), rule)));
        return Stream.of(kinds, bits, rules).flatMap(s -> s);
    }

    @ParameterizedTest
    @MethodSource("quantisations")
    void quantisedLayersAgree(Architecture config, BitWidths bits, TwinRule rule) throws OrtException {
        VisionTransformer model = RandomVit.of(config, 3);
        QuantizedModel quantized = QuantizedBySize.of(model, bits, rule);
        for (OnnxOptions.WeightType type : OnnxOptions.WeightType.values()) {
            if (type.ordinal() <= OnnxOptions.WeightType.smallest(bits.weights()).ordinal()) {
                OnnxModel exported = OnnxModel.of(quantized, new OnnxOptions(OnnxOptions.USUAL, type)).exposeLayers();
                try (Scope scope = backend.scope()) {
                    compare(exported, model, new QuantizedArithmetic(backend, scope, quantized));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void floatLayersAndLogitsAgree(Architecture config) throws OrtException {
        VisionTransformer model = RandomVit.of(config, 4);
        for (int opset = OnnxOptions.OLDEST; opset <= OnnxOptions.NEWEST; opset++) {
            OnnxModel exported = OnnxModel.of(model, new OnnxOptions(opset, OnnxOptions.WeightType.INT8)).exposeLayers();
            try (Scope scope = backend.scope()) {
                compare(exported, model, new FloatArithmetic(backend, scope, model));
            }
            try (RuntimeSession runtime = new RuntimeSession(exported.toBytes()); Classifier classifier = Classifier.of(backend, model)) {
                Tensor images = RandomVit.images(config, IMAGES, 5);
                assertArrayEquals(classifier.logits(images).toArray(), runtime.logits(images).toArray(), 2e-5f);
                Tensor one = images.slice(1, 2);
                assertArrayEquals(classifier.logits(one).toArray(), runtime.logits(one).toArray(), 2e-5f, "another batch size");
            }
        }
    }

    private static void compare(OnnxModel exported, VisionTransformer model, Arithmetic ours) throws OrtException {
        Map<String, Layer> layers = model.config().layers().stream().collect(Collectors.toMap(Layer::name, Function.identity()));
        assertEquals(layers.keySet(), exported.layers().stream().map(OnnxModel.LayerValues::layer).collect(Collectors.toSet()));
        try (RuntimeSession runtime = new RuntimeSession(exported.toBytes())) {
            Tensor images = RandomVit.images(model.config(), IMAGES, 5);
            Map<String, Tensor> theirs = runtime.run(images);
            for (OnnxModel.LayerValues values : exported.layers()) {
                Layer layer = layers.get(values.layer());
                Tensor output = theirs.get(values.output());
                List<Tensor> inputs = values.inputs().stream().map(name -> name.equals(OnnxModel.INPUT) ? images : theirs.get(name))
                        .toList();
                close(layer.name(), run(ours, layer, model, inputs, output), output);
            }
        }
    }

    private static float[] run(Arithmetic ours, Layer layer, VisionTransformer model, List<Tensor> inputs, Tensor output) {
        try (Scope scope = backend.scope()) {
            View result = scope.floats(output.shape().toArray());
            switch (layer.role()) {
                case PATCH_EMBEDDING -> {
                    View patches = new Network(backend, scope, model).patches(inputs.get(0), scope);
                    View rows = scope.floats(IMAGES, patches.size(1), layer.outputs());
                    ours.linear(layer, patches.rows(), rows.rows());
                    backend.copy(rows.permute(0, 2, 1), result.reshape(IMAGES, layer.outputs(), patches.size(1)));
                }
                case QUERY_KEY, PROBABILITY_VALUE -> ours.matmul(layer, upload(scope, inputs.get(0)), upload(scope, inputs.get(1)),
                        result);
                default -> ours.linear(layer, upload(scope, inputs.get(0)).rows(), result.rows());
            }
            return backend.download(result).toArray();
        }
    }

    private static View upload(Scope scope, Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }

    private static void close(String layer, float[] ours, Tensor theirs) {
        float largest = 0;
        double apart = 0;
        for (int i = 0; i < ours.length; i++) {
            largest = Math.max(largest, Math.abs(ours[i]));
            apart = Math.max(apart, Math.abs(ours[i] - theirs.data().get(i)));
        }
        assertTrue(largest > 0 && apart <= ROUNDING * largest, layer + ": " + apart + " apart, largest " + largest);
    }
}
