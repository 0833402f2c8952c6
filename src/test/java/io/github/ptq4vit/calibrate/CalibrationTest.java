package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CalibrationTest {
    private static final BitWidths BITS = new BitWidths(6, 6);

    private final VitConfig shape = new VitConfig("small", 24, 8, 3, 48, 2, 3, 96, 7, false, 1e-6f);
    private final VisionTransformer model = RandomVit.of(shape, 1);
    private final CalibrationImages images = images(8);
    private final Backend backend = new CpuBackend(2);

    @AfterAll
    void close() {
        backend.close();
    }

    private CalibrationImages images(int count) {
        return new CalibrationImages(IntStream.range(0, count).mapToObj(i -> "image " + i).toList(),
                RandomVit.images(shape, count, 2));
    }

    private CalibrationResult run(CalibrationConfig config) {
        return Calibrator.of(model).on(backend).config(config).run(images);
    }

    private static CalibrationConfig pseudo(CalibrationConfig config) {
        return config.withGradients(GradientSource.PSEUDO_LABEL, 1);
    }

    @ParameterizedTest
    @EnumSource
    void theProgressiveSearchEndsOnTheExhaustiveChoiceAndLossToTheLastBit(Metric metric) {
        for (String preset : List.of("base", "ptq4vit")) {
            CalibrationConfig config = pseudo(CalibrationConfig.preset(preset, BITS)).withMetric(metric);
            CalibrationResult all = run(config.withSearch(SearchMode.EXHAUSTIVE));
            CalibrationResult some = run(config.withSearch(SearchMode.PROGRESSIVE));
            assertEquals(all.layers(), some.layers());
            assertEquals(all.traces().size(), some.traces().size());
            int dropped = 0;
            for (int i = 0; i < all.traces().size(); i++) {
                SearchTrace expected = all.traces().get(i);
                SearchTrace found = some.traces().get(i);
                assertEquals(expected.layer(), found.layer());
                assertArrayEquals(expected.chosen(), found.chosen(), expected.layer());
                for (int g = 0; g < expected.chosen().length; g++) {
                    assertEquals(expected.loss(g), found.loss(g), 0, expected.layer());
                }
                dropped += (int) Arrays.stream(found.losses()).flatMapToDouble(Arrays::stream).filter(Double::isNaN).count();
            }
            assertTrue(dropped > 0, "a progressive search drops candidates");
        }
    }

    @Test
    void theChoiceIsTheFirstOfTheSmallestLosses() {
        for (SearchTrace trace : run(pseudo(CalibrationConfig.ptq4vit(BITS))).traces()) {
            assertArrayEquals(ScaleSearch.firstBest(trace.losses(), trace.chosen().length), trace.chosen());
        }
        double[][] losses = {{3, Double.NaN, 0}, {1, 2, 0}, {1, 2, 0}, {2, 1, 0}, {1, 1, Double.NaN}};
        assertArrayEquals(new int[] {1, 3, 0}, ScaleSearch.firstBest(losses, 3));
        assertThrows(CalibrationException.class, () -> ScaleSearch.firstBest(new double[][] {{Double.NaN}}, 1));
    }

    @Test
    void theNumberOfThreadsChangesNothing() {
        CalibrationConfig config = CalibrationConfig.ptq4vit(BITS).withSearch(SearchMode.PROGRESSIVE);
        CalibrationResult two = run(config);
        for (int threads : new int[] {1, 3}) {
            try (Backend other = new CpuBackend(threads)) {
                CalibrationResult result = Calibrator.of(model).on(other).config(config).run(images);
                assertEquals(two.layers(), result.layers(), threads + " threads");
                for (int i = 0; i < two.traces().size(); i++) {
                    assertTrue(Arrays.deepEquals(two.traces().get(i).losses(), result.traces().get(i).losses()),
                            threads + " threads, " + two.traces().get(i).layer());
                }
            }
        }
    }

    @Test
    void theSeedDecidesTheFisherDrawsAndNothingElse() {
        CalibrationConfig fisher = CalibrationConfig.ptq4vit(BITS).withRounds(1);
        CalibrationResult first = run(fisher);
        assertTrue(sameLosses(first, run(fisher)));
        assertFalse(sameLosses(first, run(fisher.withSeed(1))));
        assertFalse(sameLosses(first, run(fisher.withGradients(GradientSource.FISHER, 3))));
        CalibrationResult label = run(pseudo(fisher));
        assertTrue(sameLosses(label, run(pseudo(fisher).withSeed(1))));
    }

    private static boolean sameLosses(CalibrationResult a, CalibrationResult b) {
        return IntStream.range(0, a.traces().size())
                .allMatch(i -> Arrays.deepEquals(a.traces().get(i).losses(), b.traces().get(i).losses()));
    }

    @Test
    void theDrawsOfAnImageDependOnItsNameAndNotOnItsPlaceOrCompany() {
        LossGradient loss = CalibrationConfig.ptq4vit(BITS).withGradients(GradientSource.FISHER, 8).loss().orElseThrow();
        float[] logits = {0.3f, 0.1f, 0.2f, -0.1f, 0f, 0.4f};
        assertTrue(Arrays.deepEquals(loss.at("a", logits), loss.at("a", logits)));
        assertFalse(Arrays.deepEquals(loss.at("a", logits), loss.at("b", logits)));

        // the images in reverse: losses are the same sums in another order
        CalibrationConfig config = CalibrationConfig.ptq4vit(BITS).withRounds(1).withSearch(SearchMode.EXHAUSTIVE);
        CalibrationResult forward = run(config);
        int count = images.ids().size();
        int size = images.pixels().data().limit() / count;
        float[] reversed = new float[count * size];
        List<String> ids = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            ids.add(images.ids().get(count - 1 - i));
            images.pixels().data().get((count - 1 - i) * size, reversed, i * size, size);
        }
        CalibrationResult backward = Calibrator.of(model).on(backend).config(config)
                .run(new CalibrationImages(ids, Tensor.of(images.pixels().shape(), reversed)));
        assertEquals(ids, backward.imageIds());
        SearchTrace a = forward.traces().get(0);
        SearchTrace b = backward.traces().get(0);
        for (int c = 0; c < a.losses().length; c++) {
            for (int g = 0; g < a.chosen().length; g++) {
                assertEquals(a.losses()[c][g], b.losses()[c][g], 1e-5 * a.losses()[c][g], a.layer());
            }
        }
    }

    @Test
    void seedsAndImagesAreIndependentOfEachOther() {
        int images = 4000;
        CalibrationConfig config = CalibrationConfig.ptq4vit(BITS).withGradients(GradientSource.FISHER, 1);
        LossGradient[] seeds = {config.loss().orElseThrow(), config.withSeed(1).loss().orElseThrow(),
            config.withSeed(1L << 32).loss().orElseThrow()};
        int[] equal = new int[3];
        for (int image = 0; image < images; image++) {
            boolean sameSigns = sameSigns(seeds[0], "image " + image);
            equal[0] += sameSigns == sameSigns(seeds[1], "image " + image) ? 1 : 0;
            equal[1] += sameSigns == sameSigns(seeds[2], "image " + image) ? 1 : 0;
            equal[2] += sameSigns == sameSigns(seeds[0], "image " + (image + images)) ? 1 : 0;
        }
        for (int count : equal) {
            // of two fair coins half are equal, within 4 standard deviations
            assertEquals(0.5, count / (double) images, 4 * 0.5 / Math.sqrt(images), Arrays.toString(equal));
        }
    }

    /** Whether two labels, whose own gradients are opposite to each other, got the same sign in the one draw. */
    private static boolean sameSigns(LossGradient loss, String image) {
        return loss.at(image, new float[2])[0][0] == 0;
    }

    @Test
    void theMeanOfManyDrawsIsTheFisherDiagonal() {
        float[] logits = {1.2f, 0.1f, -0.4f, 3, -2};
        double[] p = Predictions.softmax(logits);
        int images = 4000;
        for (int draws = 1; draws <= 8; draws++) {
            LossGradient loss = CalibrationConfig.ptq4vit(BITS).withGradients(GradientSource.FISHER, draws).loss().orElseThrow();
            double[] sums = new double[p.length];
            double[] sumsOfSquares = new double[p.length];
            for (int image = 0; image < images; image++) {
                float[][] gradients = loss.at("image " + image, logits);
                for (int c = 0; c < p.length; c++) {
                    int column = c;
                    double mean = Arrays.stream(gradients).mapToDouble(g -> g[column] * g[column]).average().orElseThrow();
                    sums[c] += mean;
                    sumsOfSquares[c] += mean * mean;
                }
            }
            for (int c = 0; c < p.length; c++) {
                double mean = sums[c] / images;
                double deviation = Math.sqrt(Math.max(0, sumsOfSquares[c] / images - mean * mean));
                assertTrue(draws < p.length ? deviation > 0 : deviation < 1e-6 * mean, draws + " draws vary by " + deviation);
                assertEquals(p[c] * (1 - p[c]), mean, 4 * deviation / Math.sqrt(images) + 1e-6 * mean);
            }
        }
    }

    @Test
    void ofACertainPredictionThereIsNoGradient() {
        LossGradient loss = CalibrationConfig.ptq4vit(BITS).withGradients(GradientSource.FISHER, 4).loss().orElseThrow();
        for (float[] gradient : loss.at("image", new float[] {0, 1000, 0})) {
            assertArrayEquals(new float[3], gradient, 0);
        }
    }

    @Test
    void anInterruptedCalibrationEndsWithTheSameLayers() {
        CalibrationConfig config = CalibrationConfig.ptq4vit(BITS).withSearch(SearchMode.PROGRESSIVE);
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        List<LayerRecord> shown = new ArrayList<>();
        CalibrationResult whole = Calibrator.of(model).on(backend).config(config).onRecord(shown::add).onUnit(units::put).run(images);
        assertEquals(whole.layers().stream().map(QuantizedLayer::name).toList(), whole.records().stream().map(LayerRecord::layer).toList());
        assertEquals(Set.copyOf(whole.records()), Set.copyOf(shown));
        assertEquals(4, units.size(), "two blocks, head and embedding: " + units.keySet());
        for (List<String> finished : List.of(List.of("head"), List.of("head", "blocks.1"), List.of("embedding", "blocks.0"),
                List.copyOf(units.keySet()))) {
            Map<String, List<QuantizedLayer>> known = new LinkedHashMap<>(units);
            known.keySet().retainAll(finished);
            List<String> searched = new ArrayList<>();
            Set<String> taken = known.values().stream().flatMap(List::stream).map(QuantizedLayer::name).collect(Collectors.toSet());
            CalibrationResult rest = Calibrator.of(model).on(backend).config(config).resume(known)
                    .records(whole.records().stream().filter(record -> taken.contains(record.layer())).toList())
                    .onUnit((unit, layers) -> searched.add(unit)).run(images);
            assertEquals(whole.layers(), rest.layers());
            assertEquals(whole.records(), rest.records());
            assertEquals(units.keySet().stream().filter(unit -> !finished.contains(unit)).toList(), searched);
        }
    }

    @Test
    void recordsTellWhatTheSearchesSaw() {
        for (SearchMode mode : SearchMode.values()) {
            CalibrationResult result = run(CalibrationConfig.ptq4vit(BITS).withSearch(mode));
            for (QuantizedLayer layer : result.layers()) {
                LayerRecord record = result.records().get(result.layers().indexOf(layer));
                SearchTrace last = result.traces().stream().filter(trace -> trace.layer().equals(layer.name())).reduce((a, b) -> b)
                        .orElseThrow();
                double loss = IntStream.range(0, last.chosen().length).mapToDouble(last::loss).sum();
                assertEquals(loss / 2 / result.imageIds().size(), record.cost().all());
                int shown = Math.min(LayerRecord.MOST_GROUPS, layer.right().size());
                assertEquals(layer.left().size() + shown, record.curves().size(), layer.name());
                assertEquals(layer.left().size() + shown, record.curves().stream().map(curve -> List.of(curve.operand(), curve.group()))
                        .distinct().count(), layer.name());
                for (LayerRecord.Curve curve : record.curves()) {
                    List<Quantizer> chosen = curve.operand() == Operand.LEFT ? layer.left() : layer.right();
                    int best = curve.losses().indexOf(Collections.min(curve.losses()));
                    assertEquals(chosen.get(curve.group()), curve.candidates().get(best), layer.name() + " " + mode);
                }
                // all of the small weights and operands are in the histograms
                int numbers = layer.weightCodes().length;
                assertEquals(numbers > 0 ? numbers : count(record.right()), count(record.right()));
                assertTrue(count(record.left()) > 0 && record.left().orElseThrow().low() < record.left().orElseThrow().high());
            }
        }
    }

    private static int count(Optional<LayerRecord.Histogram> histogram) {
        return histogram.orElseThrow().counts().stream().mapToInt(Integer::intValue).sum();
    }

    @Test
    void everyLayerIsThereInOrderWithAQuantiserAGroupAndCodesInRange() {
        for (CalibrationConfig config : List.of(CalibrationConfig.base(BITS), CalibrationConfig.ptq4vit(BITS))) {
            CalibrationResult result = run(config.withSearch(SearchMode.PROGRESSIVE));
            assertEquals(shape.layers().stream().map(layer -> layer.name()).toList(),
                    result.layers().stream().map(QuantizedLayer::name).toList());
            for (QuantizedLayer layer : result.layers()) {
                boolean matmul = layer.name().contains("matmul");
                boolean patches = layer.name().startsWith("patch");
                boolean softmax = config.twin() && layer.name().endsWith("matmul2");
                assertEquals(patches ? 0 : matmul && !softmax ? 3 : 1, layer.left().size(), layer.name());
                assertEquals(matmul || layer.name().endsWith("qkv") ? 3 : patches && config.twin() ? 48 : 1,
                        layer.right().size(), layer.name());
                assertEquals(matmul, layer.weightCodes().length == 0);
                for (byte code : layer.weightCodes()) {
                    assertTrue(code >= -32 && code <= 31);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void groupsOfZerosHaveAPositiveScale(Metric metric) {
        int dim = shape.dim();
        VisionTransformer silent = model;
        // no keys in block 0; no values of head 1 in block 1; no fc1, so that GELU's output is 0; no row 5 of the embedding
        silent = zeroed(silent, "blocks.0.attn.qkv.weight", dim * dim, 2 * dim * dim);
        silent = zeroed(silent, "blocks.0.attn.qkv.bias", dim, 2 * dim);
        silent = zeroed(silent, "blocks.1.attn.qkv.weight", (2 * dim + 16) * dim, (2 * dim + 32) * dim);
        silent = zeroed(silent, "blocks.1.attn.qkv.bias", 2 * dim + 16, 2 * dim + 32);
        silent = zeroed(silent, "blocks.1.mlp.fc1.weight", 0, 96 * dim);
        silent = zeroed(silent, "blocks.1.mlp.fc1.bias", 0, 96);
        silent = zeroed(silent, "patch_embed.proj.weight", 5 * 192, 6 * 192);
        for (String preset : List.of("base", "ptq4vit")) {
            for (SearchMode mode : SearchMode.values()) {
                CalibrationConfig config = pseudo(CalibrationConfig.preset(preset, BITS)).withMetric(metric).withSearch(mode);
                CalibrationResult result = Calibrator.of(silent).on(backend).config(config).run(images(2));
                for (QuantizedLayer layer : result.layers()) {
                    for (List<Quantizer> side : List.of(layer.left(), layer.right())) {
                        side.forEach(quantizer -> quantizer.grid().ranges().forEach(range ->
                                assertTrue(range.step() > 0 && Float.isFinite(range.step()), layer.name() + " " + quantizer)));
                    }
                }
            }
        }
    }

    private static VisionTransformer zeroed(VisionTransformer model, String name, int from, int to) {
        float[] numbers = model.tensor(name).toArray();
        Arrays.fill(numbers, from, to, 0);
        return RandomVit.with(model, name, Tensor.of(model.tensor(name).shape(), numbers));
    }

    @Test
    void imagesWithoutAnyGradientAreCalibratedAllTheSame() {
        // a classifier that is certain of class 0 whatever it sees
        float[] bias = new float[shape.classes()];
        bias[0] = 1e4f;
        VisionTransformer certain = RandomVit.with(model, "head.bias", Tensor.of(Shape.of(bias.length), bias));
        CalibrationResult result = Calibrator.of(certain).on(backend).config(CalibrationConfig.ptq4vit(BITS)).run(images);
        assertEquals(shape.layers().size(), result.layers().size());
    }

    @Test
    void imagesOfTheWrongShapeAreRefused() {
        Calibrator calibrator = Calibrator.of(model).on(backend).config(CalibrationConfig.base(BITS));
        for (int[] sizes : new int[][] {{2, 3, 24, 32}, {2, 1, 24, 24}, {2, 3, 16, 16}}) {
            CalibrationImages wrong = new CalibrationImages(List.of("a", "b"), Tensor.zeros(sizes));
            String message = assertThrows(CalibrationException.class, () -> calibrator.run(wrong)).getMessage();
            assertTrue(message.contains(wrong.pixels().shape().toString()) && message.contains("[2, 3, 24, 24]"), message);
        }
        assertThrows(IllegalArgumentException.class, () -> new CalibrationImages(List.of("a"), Tensor.zeros(2, 3, 24, 24)));
        assertThrows(IllegalArgumentException.class, () -> new CalibrationImages(List.of(), Tensor.zeros(0, 3, 24, 24)));
        assertThrows(IllegalArgumentException.class, () -> new CalibrationImages(List.of("a"), Tensor.zeros(1, 3, 576)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.1.attn.qkv.weight", "blocks.1.mlp.fc2.weight",
        "head.weight"})
    void aModelThatOverflowsOnTheImagesIsRefused(String name) {
        float[] huge = model.tensor(name).toArray();
        for (int i = 0; i < huge.length; i++) {
            huge[i] = Math.copySign(3e38f, huge[i]);
        }
        VisionTransformer wild = RandomVit.with(model, name, Tensor.of(model.tensor(name).shape(), huge));
        for (Metric metric : List.of(Metric.HESSIAN, Metric.COSINE, Metric.L2)) {
            for (SearchMode mode : SearchMode.values()) {
                CalibrationConfig config = CalibrationConfig.ptq4vit(BITS).withMetric(metric).withSearch(mode);
                String message = assertThrows(CalibrationException.class,
                        () -> Calibrator.of(wild).on(backend).config(config).run(images(2)), metric + " " + mode).getMessage();
                assertFalse(message.isBlank());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 0, 9})
    void drawsOutOfRangeAreRefusedWithTheRange(int draws) {
        CalibrationConfig config = CalibrationConfig.ptq4vit(BITS);
        refused(() -> config.withGradients(GradientSource.FISHER, draws), "from 1 to 8", "not " + draws);
    }

    @ParameterizedTest
    @CsvSource({"0, 1.2", "-0.1, 1.2", "1.2, 1.2", "1.3, 1.2", "NaN, 1.2", "0.1, NaN"})
    void candidatesOutOfRangeAreRefusedWithTheRange(double alpha, double beta) {
        refused(() -> with(alpha, beta, 100, 1), "0 < alpha < beta", String.valueOf(alpha));
    }

    @Test
    void thereIsAtLeastOneCandidateAndOneRound() {
        refused(() -> with(0.5, 1.2, 0, 1), "At least one candidate", "not 0");
        refused(() -> with(0.5, 1.2, 1, 0), "one round", "0");
        refused(() -> CalibrationConfig.preset("best", BITS), "'best'", "base, ptq4vit");
        assertNotEquals(CalibrationConfig.base(BITS), CalibrationConfig.ptq4vit(BITS));
    }

    @Test
    void aCalibrationNeedsABackend() {
        assertThrows(IllegalStateException.class, () -> Calibrator.of(model).run(images));
    }

    private static CalibrationConfig with(double alpha, double beta, int candidates, int rounds) {
        CalibrationConfig c = CalibrationConfig.base(BITS);
        return new CalibrationConfig(c.preset(), c.bits(), c.metric(), c.gradients(), c.draws(), c.twin(), c.twinRule(),
                c.channelwisePatches(), alpha, beta, candidates, rounds, c.lossCheck(), c.search(), c.seed(), c.extensions());
    }

    private static void refused(org.junit.jupiter.api.function.Executable what, String... words) {
        String message = assertThrows(IllegalArgumentException.class, what).getMessage();
        for (String word : words) {
            assertTrue(message.contains(word), message + " lacks " + word);
        }
    }
}
