package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.SmallArchitectures;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitPlan;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The recipe {@code best} on small random networks of every kind. */
class BestConfigTest {
    private static final int IMAGES = 6;

    static List<Architecture> architectures() {
        return SmallArchitectures.all();
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void transformsLeaveTheFunctionAsItIs(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        Tensor others = RandomVit.images(config, 4, 5);
        Set<Ingredient> transforms = EnumSet.of(Ingredient.CENTRED_NORMS, Ingredient.BALANCED_NORMS, Ingredient.CENTRED,
                Ingredient.ROTATED_HEADS);
        try (Backend backend = Backends.open("cpu")) {
            float[] expected = logits(backend, model, others);
            for (Ingredient one : transforms) {
                EnumSet<Ingredient> rest = EnumSet.copyOf(transforms);
                rest.remove(one);
                VisionTransformer transformed = BestConfig.of(new BitWidths(4, 4)).without(rest)
                        .transformed(model, backend, images(config), new Timings());
                assertNotEquals(model.tensors(), transformed.tensors());
                assertClose(expected, logits(backend, transformed, others), one.toString());
            }
            VisionTransformer all = BestConfig.of(new BitWidths(4, 4)).transformed(model, backend, images(config), new Timings());
            assertClose(expected, logits(backend, all, others), "all");
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void moreBitsAreCloserToFloatAndEightBitsAreClose(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        try (Backend backend = Backends.open("cpu")) {
            double[] divergences = IntStream.of(8, 6, 4).mapToDouble(bits -> divergence(backend, model,
                    calibrated(backend, model, BestConfig.of(new BitWidths(bits, bits))))).toArray();
            assertTrue(divergences[0] < divergences[1] && divergences[1] < divergences[2], divergences[0] + " " + divergences[1]
                    + " " + divergences[2]);
            assertTrue(divergences[0] < 0.01, "8 bits: " + divergences[0]);
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void twoRunsAreEqual(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        BestConfig recipe = BestConfig.of(new BitWidths(3, 4));
        try (Backend one = Backends.open("cpu"); Backend other = Backends.open("cpu")) {
            assertEquals(calibrated(one, model, recipe).layers(), calibrated(other, model, recipe).layers());
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void mirrorImagesTakePartInNothingButTheRoundingOfWeights(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        BestConfig recipe = BestConfig.of(new BitWidths(4, 4));
        try (Backend backend = Backends.open("cpu")) {
            List<QuantizedLayer> with = calibrated(backend, model, recipe).layers();
            List<QuantizedLayer> without = calibrated(backend, model, recipe.without(Set.of(Ingredient.MIRRORED_IMAGES))).layers();
            for (int i = 0; i < with.size(); i++) {
                assertEquals(without.get(i).left(), with.get(i).left(), with.get(i).name());
                assertEquals(without.get(i).input(), with.get(i).input(), with.get(i).name());
            }
            assertNotEquals(without, with);
        }
    }

    @ParameterizedTest
    @EnumSource(ActivationScales.class)
    void anInterruptedRunIsContinuedOnTheSameNetwork(ActivationScales activations) {
        Architecture config = architectures().get(0);
        VisionTransformer model = RandomVit.of(config, 1);
        BestConfig recipe = BestConfig.of(new BitWidths(4, 4)).withActivations(activations);
        Map<String, List<QuantizedLayer>> units = new HashMap<>();
        List<LayerRecord> records = new ArrayList<>();
        List<VisionTransformer> networks = new ArrayList<>();
        try (Backend backend = Backends.open("cpu")) {
            assertThrows(IllegalStateException.class, () -> Calibrator.of(model).on(backend).config(recipe)
                    .onNetwork(networks::add).onRecord(records::add)
                    .onUnit((unit, layers) -> {
                        if (units.size() == 2) {
                            throw new IllegalStateException("interrupted");
                        }
                        units.put(unit, layers);
                    }).run(images(config)));
            assertEquals(1, networks.size());
            CalibrationResult continued = Calibrator.of(model).on(backend).config(recipe).network(Optional.of(networks.get(0)))
                    .resume(units).records(records).run(images(config));
            CalibrationResult whole = Calibrator.of(model).on(backend).config(recipe).run(images(config));
            assertEquals(whole.layers(), continued.layers());
            assertEquals(whole.records(), continued.records());
            assertEquals(networks.get(0), continued.network());
        }
    }

    static Stream<Arguments> gpus() {
        return BackendUnderTest.quickGpus().flatMap(gpu -> Stream.of(ActivationScales.values()).map(scales -> Arguments.of(gpu, scales)));
    }

    @ParameterizedTest(name = "{0}, {1}", allowZeroInvocations = true)
    @MethodSource("gpus")
    void aGpuFindsWhatIsAsGood(BackendUnderTest gpu, ActivationScales activations) {
        VisionTransformer model = RandomVit.of(architectures().get(0), 1);
        BestConfig recipe = BestConfig.of(new BitWidths(6, 6)).withActivations(activations);
        try (Backend cpu = Backends.open("cpu"); Backend backend = gpu.open().get()) {
            double onGpu = divergence(cpu, model, calibrated(backend, model, recipe));
            double onCpu = divergence(cpu, model, calibrated(cpu, model, recipe));
            // choices at rounding ties may differ, what they cost hardly
            assertTrue(onGpu < 1.5 * onCpu, onGpu + " against " + onCpu);
        }
    }

    private static double divergence(Backend backend, VisionTransformer model, QuantizedModel quantized) {
        Tensor images = RandomVit.images(model.config(), 16, 5);
        Tensor expected = logitsTensor(backend, model, images);
        try (Classifier classifier = Classifier.of(backend, quantized)) {
            Tensor logits = classifier.logits(images);
            return IntStream.range(0, 16).mapToDouble(i -> Predictions.divergence(expected, logits, i)).average().orElseThrow();
        }
    }

    @ParameterizedTest
    @EnumSource(Ingredient.class)
    void everyIngredientMatters(Ingredient ingredient) {
        VisionTransformer model = RandomVit.of(architectures().get(0), 1);
        BestConfig all = BestConfig.of(new BitWidths(4, 4));
        try (Backend backend = Backends.open("cpu")) {
            assertNotEquals(calibrated(backend, model, all).layers(),
                    calibrated(backend, model, all.without(Set.of(ingredient))).layers());
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void layersGetTheBitWidthsOfThePlan(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        List<Layer> edges = Stream.concat(Stream.of(config.embedding()), config.headLayers().stream()).toList();
        BitWidths eight = new BitWidths(8, 8);
        BestConfig recipe = BestConfig.of(new BitWidths(3, 4));
        BitPlan plan = recipe.plan().with(edges.stream().collect(Collectors.toMap(Layer::name, layer -> eight)));
        try (Backend backend = Backends.open("cpu")) {
            for (QuantizedLayer layer : calibrated(backend, model, recipe.withPlan(plan)).layers()) {
                BitWidths expected = edges.stream().anyMatch(edge -> edge.name().equals(layer.name())) ? eight : new BitWidths(3, 4);
                layer.left().forEach(q -> assertEquals(expected.activations(), q.bits(), layer.name()));
                layer.right().forEach(q -> assertEquals(layer.weightCodes().length > 0 ? expected.weights() : expected.activations(),
                        q.bits(), layer.name()));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void bitWidthsByLayerKeepToTheirTargetAndAreBetterThanOneForAll(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        BestConfig recipe = BestConfig.of(new BitWidths(4, 4));
        Layer head = config.headLayers().get(0);
        BitPlan kept = recipe.plan().with(Map.of(head.name(), new BitWidths(7, 7)));
        try (Backend backend = Backends.open("cpu")) {
            CalibrationResult result = Calibrator.of(model).on(backend)
                    .config(recipe.withPlan(kept).withTarget(Optional.of(new BitTarget.AverageBits(4)))).run(images(config));
            BitPlan plan = ((BestConfig) result.recipe()).plan();
            assertEquals(new BitWidths(7, 7), plan.of(head.name()));
            long bits = 0;
            long weights = 0;
            for (QuantizedLayer layer : result.layers()) {
                bits += (long) layer.weightCodes().length * plan.of(layer.name()).weights();
                weights += layer.weightCodes().length;
                if (layer.weightCodes().length > 0) {
                    assertEquals(plan.of(layer.name()).weights(), layer.right().get(0).bits(), layer.name());
                }
            }
            assertTrue(bits <= 4 * weights, bits + " for " + weights);
            List<LayerCost> costs = Sensitivity.of(model, backend, recipe, images(config), Progress.NONE);
            assertEquals(costs.stream().map(LayerCost::byBits).toList(),
                    result.records().stream().map(record -> record.byBits().orElseThrow()).toList());
            double uniform = costs.stream().mapToDouble(cost -> cost.at(4, 4)).sum();
            BitPlan free = new BitPlanning(result.network(), recipe.plan(), costs).plan(new BitTarget.AverageBits(4));
            double chosen = costs.stream().mapToDouble(cost -> cost.at(free.of(cost.layer()).weights(), free.of(cost.layer()).activations()))
                    .sum();
            assertTrue(chosen <= uniform, chosen + " against " + uniform);
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void extensionsOfThePaperHaveMoreGroupsAndAreCalculatedWith(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        CalibrationConfig paper = CalibrationConfig.ptq4vit(new BitWidths(4, 6));
        Map<String, Layer> byName = config.layers().stream().collect(Collectors.toMap(Layer::name, layer -> layer));
        try (Backend backend = Backends.open("cpu")) {
            QuantizedModel extended = calibrated(backend, model, paper.withExtensions(EnumSet.allOf(Extension.class)));
            for (QuantizedLayer layer : extended.layers()) {
                Layer of = byName.get(layer.name());
                assertEquals(of.role().isMatmul() ? layer.left().size() : of.outputs(), layer.right().size(), layer.name());
            }
            // more groups do no harm beyond chance
            QuantizedModel channelwise = calibrated(backend, model, paper.withExtensions(EnumSet.of(Extension.CHANNELWISE_WEIGHTS)));
            assertTrue(divergence(backend, model, channelwise) < 2 * divergence(backend, model, calibrated(backend, model, paper)));
            assertTrue(divergence(backend, model, extended) < 2 * divergence(backend, model, channelwise));
        }
    }

    @Test
    void aMaximalDropIsKeptAndASmallerOneTakesMoreBits() {
        Architecture config = architectures().get(0);
        VisionTransformer model = RandomVit.of(config, 1);
        Tensor pixels = images(config).pixels();
        try (Backend backend = Backends.open("cpu")) {
            Tensor expected = logitsTensor(backend, model, pixels);
            long fewest = 0;
            for (double points : new double[] {20, 0}) {
                CalibrationResult result = Calibrator.of(model).on(backend).config(BestConfig.of(new BitWidths(8, 8))
                        .withTarget(Optional.of(new BitTarget.MaxDrop(points)))).run(images(config));
                try (Classifier classifier = Classifier.of(backend, new QuantizedModel(result.network(), result.layers()))) {
                    Tensor found = classifier.logits(pixels);
                    double drop = 100 * IntStream.range(0, IMAGES).mapToDouble(i -> Predictions.expectedDrop(expected, found, i)).average()
                            .orElseThrow();
                    assertTrue(drop <= points, drop + " points");
                }
                long bits = result.layers().stream().filter(layer -> layer.weightCodes().length > 0)
                        .mapToLong(layer -> (long) layer.weightCodes().length * layer.right().get(0).bits()).sum();
                assertTrue(bits >= fewest, bits + " bits");
                fewest = bits;
            }
        }
    }

    @Test
    void costsOfTheRunAreThoseOfItsLayers() {
        Architecture config = architectures().get(0);
        VisionTransformer model = RandomVit.of(config, 1);
        String poor = "blocks.0.mlp.fc1";
        BestConfig recipe = BestConfig.of(new BitWidths(8, 8));
        BestConfig planned = recipe.withPlan(recipe.plan().with(Map.of(poor, new BitWidths(2, 2))));
        try (Backend backend = Backends.open("cpu")) {
            for (Recipe one : List.of(planned, CalibrationConfig.ptq4vit(new BitWidths(4, 4)), CalibrationConfig.base(new BitWidths(4, 4)))) {
                Map<String, Double> costs = Calibrator.of(model).on(backend).config(one).run(images(config)).records().stream()
                        .collect(Collectors.toMap(LayerRecord::layer, record -> record.cost().all()));
                assertEquals(config.layers().stream().map(Layer::name).collect(Collectors.toSet()), costs.keySet());
                double sum = costs.values().stream().mapToDouble(Double::doubleValue).sum();
                assertEquals(one.preset().equals("base"), Double.isNaN(sum));
                assertTrue(one != planned || costs.get(poor) > sum / 2, costs.toString());
            }
        }
    }

    @Test
    void aTargetThatCannotBeReachedSaysWhatCan() {
        VisionTransformer model = RandomVit.of(architectures().get(0), 1);
        BestConfig recipe = BestConfig.of(new BitWidths(4, 4)).withTarget(Optional.of(new BitTarget.Size(100)));
        try (Backend backend = Backends.open("cpu")) {
            String message = assertThrows(CalibrationException.class,
                    () -> Calibrator.of(model).on(backend).config(recipe).run(images(model.config()))).getMessage();
            assertTrue(message.matches(".*100 bytes; the smallest that can be reached is [0-9]+ bytes"), message);
            long smallest = Long.parseLong(message.replaceAll(".* is ([0-9]+) bytes", "$1"));
            BestConfig reachable = recipe.withTarget(Optional.of(new BitTarget.Size(smallest)));
            calibrated(backend, model, reachable).layers().stream().filter(layer -> layer.weightCodes().length > 0)
                    .forEach(layer -> assertEquals(BitWidths.MIN, layer.right().get(0).bits()));
        }
    }

    @ParameterizedTest
    @MethodSource("architectures")
    void costsFallWithBitsAndTellWhatLayersLose(Architecture config) {
        VisionTransformer model = RandomVit.of(config, 1);
        try (Backend backend = Backends.open("cpu")) {
            List<LayerCost> costs = Sensitivity.of(model, backend, BestConfig.of(new BitWidths(4, 4)), images(config), Progress.NONE);
            assertEquals(config.layers().stream().map(Layer::name).toList(), costs.stream().map(LayerCost::layer).toList());
            for (LayerCost cost : costs) {
                assertTrue(cost.at(2, 2) > cost.at(4, 4) && cost.at(4, 4) > cost.at(8, 8) && cost.at(8, 8) >= 0, cost.layer());
            }
            // the sum is about the divergence that a calibration at these widths has; where tokens are averaged, errors that they
            // share add up, of which the metric knows nothing
            double estimated = costs.stream().mapToDouble(cost -> cost.at(6, 6)).sum();
            double measured = divergence(backend, model, calibrated(backend, model, BestConfig.of(new BitWidths(6, 6))));
            assertTrue(estimated > measured / 30 && estimated < measured * 10, estimated + " estimated, " + measured + " measured");
        }
    }

    private static QuantizedModel calibrated(Backend backend, VisionTransformer model, Recipe recipe) {
        CalibrationResult result = Calibrator.of(model).on(backend).config(recipe).run(images(model.config()));
        return new QuantizedModel(result.network(), result.layers());
    }

    private static CalibrationImages images(Architecture config) {
        List<String> ids = new ArrayList<>();
        IntStream.range(0, IMAGES).forEach(i -> ids.add("image " + i));
        return new CalibrationImages(ids, RandomVit.images(config, IMAGES, 2));
    }

    private static float[] logits(Backend backend, VisionTransformer model, Tensor images) {
        return logitsTensor(backend, model, images).toArray();
    }

    private static Tensor logitsTensor(Backend backend, VisionTransformer model, Tensor images) {
        try (Classifier classifier = Classifier.of(backend, model)) {
            return classifier.logits(images);
        }
    }

    private static void assertClose(float[] expected, float[] actual, String what) {
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            largest = Math.max(largest, Math.abs(expected[i] - actual[i]));
        }
        assertTrue(largest < 1e-4, what + ": " + largest);
    }
}
