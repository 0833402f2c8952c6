package io.github.ptq4vit.export;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.ActivationScales;
import io.github.ptq4vit.calibrate.BestConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.SmallArchitectures;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Layer by layer ONNX Runtime computes from an exported model what this library computes from the same inputs. */
class OnnxLayersTest {
    private static final int IMAGES = 3;
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
        agree(quantized, bits);
    }

    static Stream<Arguments> bestOfAll() {
        return architectures().stream().flatMap(config -> Stream.of(new BitWidths(8, 8), new BitWidths(6, 6), new BitWidths(4, 4),
                new BitWidths(3, 4)).map(bits -> Arguments.of(config, bits)));
    }

    @ParameterizedTest
    @MethodSource("bestOfAll")
    void layersOfPresetBestAgree(Architecture config, BitWidths bits) throws OrtException {
        CalibrationResult result = Calibrator.of(RandomVit.of(config, 1)).on(backend).config(BestConfig.of(bits))
                .run(new CalibrationImages(List.of("a", "b", "c", "d"), RandomVit.images(config, 4, 2)));
        agree(new QuantizedModel(result.network(), result.layers()), bits);
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void layersThatStayFloat32AgreeAmongOthers(Architecture config) throws OrtException {
        Set<String> excluded = Stream.of("patch_embed", "0.attn", "mlp.fc1", "head").flatMap(name -> config.layersNamed(name).stream())
                .map(Layer::name).collect(Collectors.toSet());
        BestConfig recipe = BestConfig.of(new BitWidths(4, 4));
        VisionTransformer model = RandomVit.of(config, 1);
        CalibrationImages images = new CalibrationImages(List.of("a", "b", "c", "d"), RandomVit.images(config, 4, 2));
        CalibrationResult result = Calibrator.of(model).on(backend).config(recipe.withPlan(recipe.plan().without(excluded))).run(images);
        assertEquals(excluded, result.layers().stream().filter(layer -> !layer.isQuantized()).map(QuantizedLayer::name)
                .collect(Collectors.toSet()));
        QuantizedModel quantized = new QuantizedModel(result.network(), result.layers());
        for (OnnxOptions.Target target : OnnxOptions.Target.values()) {
            ExportedLayers.compare(backend, quantized, OnnxModel.of(quantized, new OnnxOptions(OnnxOptions.USUAL,
                    OnnxOptions.WeightType.INT8, target)), RandomVit.images(config, IMAGES, 5));
        }
        Set<String> one = Set.of(config.layersNamed("0.attn.matmul1").get(0).name());
        CalibrationResult torn = Calibrator.of(model).on(backend).config(recipe.withPlan(recipe.plan().without(one))).run(images);
        assertTrue(assertThrows(ExportException.class, () -> OnnxModel.of(new QuantizedModel(torn.network(), torn.layers()),
                new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8))).getMessage().contains("exclude all three or none"));
    }

    @Test
    void dynamicActivationsAreRefusedByName() {
        VisionTransformer model = RandomVit.of(architectures().get(0), 1);
        CalibrationResult result = Calibrator.of(model).on(backend)
                .config(BestConfig.of(new BitWidths(4, 4)).withActivations(ActivationScales.DYNAMIC))
                .run(new CalibrationImages(List.of("a", "b", "c", "d"), RandomVit.images(model.config(), 4, 2)));
        QuantizedModel quantized = new QuantizedModel(result.network(), result.layers());
        String message = assertThrows(ExportException.class, () -> OnnxModel.of(quantized,
                new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8))).getMessage();
        assertTrue(message.contains("blocks.0.attn.qkv") && message.contains("--activations static"), message);
    }

    /** For every target and with every type of weights that holds the codes. */
    private static void agree(QuantizedModel quantized, BitWidths bits) throws OrtException {
        for (OnnxOptions.Target target : OnnxOptions.Target.values()) {
            OnnxOptions.WeightType smallest = OnnxModel.weightType(quantized, target, OnnxOptions.USUAL);
            assertEquals(bits.weights() <= 4 && (target != OnnxOptions.Target.TENSORRT || largestCode(quantized) < 8),
                    smallest == OnnxOptions.WeightType.INT4);
            for (OnnxOptions.WeightType type : OnnxOptions.WeightType.values()) {
                OnnxOptions options = new OnnxOptions(OnnxOptions.USUAL, type, target);
                if (type.ordinal() <= smallest.ordinal()) {
                    ExportedLayers.compare(backend, quantized, OnnxModel.of(quantized, options),
                            RandomVit.images(quantized.model().config(), IMAGES, 5));
                } else {
                    assertTrue(assertThrows(ExportException.class, () -> OnnxModel.of(quantized, options)).getMessage()
                            .endsWith("int8"));
                }
            }
        }
    }

    private static int largestCode(QuantizedModel quantized) {
        int largest = 0;
        for (QuantizedLayer layer : quantized.layers()) {
            for (byte code : layer.weightCodes()) {
                largest = Math.max(largest, code);
            }
        }
        return largest;
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void quantisedLayersAgreeInTheOldestAndTheNewestOpset(Architecture config) throws OrtException {
        QuantizedModel quantized = QuantizedBySize.of(RandomVit.of(config, 3), new BitWidths(8, 8), TwinRule.FREE);
        for (int opset : new int[] {OnnxOptions.OLDEST, OnnxOptions.NEWEST}) {
            for (OnnxOptions.Target target : OnnxOptions.Target.values()) {
                OnnxModel exported = OnnxModel.of(quantized, new OnnxOptions(opset, OnnxOptions.WeightType.INT8, target));
                ExportedLayers.compare(backend, quantized, exported, RandomVit.images(config, IMAGES, 5));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void floatLayersAndLogitsAgree(Architecture config) throws OrtException {
        VisionTransformer model = RandomVit.of(config, 4);
        for (int opset = OnnxOptions.OLDEST; opset <= OnnxOptions.NEWEST; opset++) {
            OnnxOptions.Target target = OnnxOptions.Target.values()[opset % OnnxOptions.Target.values().length];
            OnnxModel exported = OnnxModel.of(model, new OnnxOptions(opset, OnnxOptions.WeightType.INT8, target));
            ExportedLayers.compare(backend, model, exported, RandomVit.images(config, IMAGES, 5));
            try (RuntimeSession runtime = new RuntimeSession(exported.toBytes()); Classifier classifier = Classifier.of(backend, model)) {
                Tensor images = RandomVit.images(config, IMAGES, 5);
                assertArrayEquals(classifier.logits(images).toArray(), runtime.logits(images).toArray(), 2e-5f);
                Tensor one = images.slice(1, 2);
                assertArrayEquals(classifier.logits(one).toArray(), runtime.logits(one).toArray(), 2e-5f, "another batch size");
            }
        }
    }

}
