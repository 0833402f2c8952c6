package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole calibrations on CUDA: what the CPU chooses, the same in both modes of search, and the same again. */
class CudaCalibrationTest {
    private static final Path EXAMPLE = Path.of("examples/characters");
    private static final int IMAGES = 2;
    /** By how much the loss of an equally good choice may be larger, relative to the best. */
    private static final double TIE = SearchAgreementTest.HESSIAN_TIE;
    /** The same from end to end: inputs differ in their last bits, and codes at rounding ties move losses as in the golden numbers. */
    private static final double END_TO_END = 2 * CalibrationAgreementTest.HESSIAN_SCORE;

    static Stream<BackendUnderTest> gpu() {
        return BackendUnderTest.quickGpus();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("gpu")
    void theExampleModelGetsTheScalesOfTheCpu(BackendUnderTest gpu) {
        VisionTransformer model = ModelReader.read(EXAMPLE.resolve("model.safetensors"), OptionalInt.empty());
        CalibrationImages images;
        try (SafetensorsFile golden = SafetensorsFile.open(EXAMPLE.resolve("golden.safetensors"))) {
            images = images(golden.read("input"), IMAGES);
        }
        CalibrationConfig config = CalibrationConfig.ptq4vit(new BitWidths(6, 6));
        List<SearchTrace> truths;
        try (Backend cpu = new CpuBackend(2)) {
            truths = calibrate(cpu, model, images, config).traces();
        }
        List<SearchTrace> traces;
        try (Backend backend = gpu.open().get()) {
            traces = calibrate(backend, model, images, config).traces();
        }
        assertEquals(truths.size(), traces.size());
        int differ = 0;
        String differs = "";
        for (int i = 0; i < traces.size(); i++) {
            SearchTrace truth = truths.get(i);
            assertEquals(truth.layer(), traces.get(i).layer());
            // where a tie was resolved otherwise, the searches of that layer that follow have another start
            boolean alike = !differs.equals(truth.layer());
            for (int group = 0; group < truth.chosen().length && alike; group++) {
                int ours = traces.get(i).chosen()[group];
                if (ours != truth.chosen()[group]) {
                    differ++;
                    differs = truth.layer();
                    double lost = truth.losses()[ours][group] / truth.loss(group) - 1;
                    assertTrue(lost <= END_TO_END, truth.layer() + ", " + truth.operand() + " in round " + truth.round() + ", group "
                            + group + ": chose " + ours + " instead of " + truth.chosen()[group] + ", a relative loss of " + lost);
                }
            }
        }
        System.out.println("Example model on " + gpu + ": in " + traces.size() + " searches " + differ + " ties resolved otherwise");
        assertTrue(differ <= traces.size() / 100, differ + " of " + traces.size());
    }

    /** The shape of {@link RealModelTest}, which needs a real GPU, in small. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("gpu")
    void onEqualNumbersEverySearchChoosesAsOnTheCpu(BackendUnderTest gpu) {
        VitConfig shape = new VitConfig("small", 24, 8, 3, 48, 1, 3, 96, 7, false, 1e-6f);
        CalibrationImages images = images(RandomVit.images(shape, 2, 2), 2);
        for (CalibrationConfig config : List.of(CalibrationConfig.ptq4vit(new BitWidths(8, 8)),
                CalibrationConfig.base(new BitWidths(4, 4)).withMetric(Metric.L2))) {
            System.out.println("Small model on " + gpu + ": " + assertSearchesAgree(gpu, RandomVit.of(shape, 1), images, config));
        }
    }

    /**
     * Calibrates on the CPU and has each search scored on the GPU as well: at least 999 of 1000 choices are the same, the others
     * ties. Tells how far they agree.
     */
    static String assertSearchesAgree(BackendUnderTest gpu, VisionTransformer model, CalibrationImages images,
            CalibrationConfig config) {
        try (Backend cpu = new CpuBackend(2); Backend backend = gpu.open().get();
                ScoredOnBoth both = new ScoredOnBoth(cpu, backend)) {
            CalibrationResult result = calibrate(both.backend(), model, images,
                    config.withSearch(SearchMode.EXHAUSTIVE).withLossCheck(false));
            assertTrue(both.choices() >= result.layers().size(), both.toString());
            assertTrue(both.worstChoice() <= TIE, both.toString());
            assertTrue(both.others() <= both.choices() / 1000, both.toString());
            assertTrue(both.worstLoss() <= 1, both.toString());
            return both.toString();
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("gpu")
    void progressiveIsExhaustiveAndTwiceIsTheSame(BackendUnderTest gpu) {
        VitConfig shape = new VitConfig("small", 24, 8, 3, 48, 1, 3, 96, 7, false, 1e-6f);
        VisionTransformer model = RandomVit.of(shape, 1);
        CalibrationImages images = images(RandomVit.images(shape, 5, 2), 5);
        for (CalibrationConfig config : List.of(CalibrationConfig.ptq4vit(new BitWidths(6, 6)),
                CalibrationConfig.base(new BitWidths(8, 8)).withMetric(Metric.COSINE))) {
            try (Backend backend = gpu.open().get()) {
                CalibrationConfig progressive = config.withSearch(SearchMode.PROGRESSIVE);
                List<SearchTrace> first = calibrate(backend, model, images, progressive).traces();
                List<SearchTrace> again = calibrate(backend, model, images, progressive).traces();
                List<SearchTrace> all = calibrate(backend, model, images, config.withSearch(SearchMode.EXHAUSTIVE)).traces();
                assertEquals(first.size(), all.size());
                for (int i = 0; i < first.size(); i++) {
                    assertArrayEquals(first.get(i).losses(), again.get(i).losses());
                    assertArrayEquals(first.get(i).chosen(), all.get(i).chosen());
                    for (int group = 0; group < first.get(i).chosen().length; group++) {
                        assertEquals(all.get(i).loss(group), first.get(i).loss(group));
                    }
                }
            }
        }
    }

    /** Scores that overflow make softmax undefined, and nothing else in the network is. */
    @ParameterizedTest(name = "{0}")
    @MethodSource("gpu")
    void undefinedProbabilitiesAreToldAndNotTakenForNumbers(BackendUnderTest gpu) {
        VitConfig shape = new VitConfig("small", 24, 8, 3, 48, 1, 3, 96, 7, false, 1e-6f);
        VisionTransformer model = RandomVit.of(shape, 1);
        String name = "blocks.0.attn.qkv.weight";
        float[] weights = model.tensors().get(name).toArray();
        // queries and keys of about 1e20, values as they are
        for (int i = 0; i < weights.length / 3 * 2; i++) {
            weights[i] *= 1e20f;
        }
        VisionTransformer overflowing = RandomVit.with(model, name, Tensor.of(model.tensors().get(name).shape(), weights));
        CalibrationImages images = images(RandomVit.images(shape, 2, 2), 2);
        try (Backend backend = gpu.open().get()) {
            CalibrationException e = assertThrows(CalibrationException.class, () -> calibrate(backend, overflowing, images,
                    CalibrationConfig.ptq4vit(new BitWidths(8, 8))));
            assertTrue(e.getMessage().contains("finite") || e.getMessage().contains("NaN"), e.getMessage());
        }
    }

    private static CalibrationResult calibrate(Backend backend, VisionTransformer model, CalibrationImages images,
            CalibrationConfig config) {
        return Calibrator.of(model).on(backend).config(config).run(images);
    }

    private static CalibrationImages images(Tensor pixels, int count) {
        return new CalibrationImages(IntStream.range(0, count).mapToObj(i -> "image " + i).toList(), pixels.slice(0, count));
    }
}
