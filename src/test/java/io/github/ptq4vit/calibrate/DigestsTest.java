package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.ptq4vit.OtherProcess;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Scales, codes and the manifest's layers of {@code base} and {@code ptq4vit} are what they were, to the last bit, on every path
 * through the program: the CPU's integer products, its float32 products of codes on a processor with and without AVX-512, and
 * the emulated GPU. That can be said only of one kind of float32 arithmetic at a time ({@link FloatKind}): digests are
 * recorded for each kind in {@code src/test/resources/digests}. On another kind nothing is compared, and the test says so.
 * On a processor and with libraries that digests were recorded with, another kind of arithmetic is a failure.
 *
 * <p>To record the digests of a kind, run on the commit whose bytes are right, and commit the new files:
 *
 * <pre>{@code mvn test -Dtest=DigestsTest -Dptq4vit.digests.record=true}</pre>
 */
class DigestsTest {
    private static final boolean RECORD = Boolean.getBoolean("ptq4vit.digests.record");
    /** oneDNN then behaves as on a processor without AVX-512, whose products of bytes saturate. */
    private static final Map<String, String> AVX2 = Map.of("ONEDNN_MAX_CPU_ISA", "AVX2");

    static Stream<BackendUnderTest> ownProcess() {
        return Stream.of(new BackendUnderTest("cpu", () -> new CpuBackend(2)),
                new BackendUnderTest("cpu-float-products", () -> CpuBackend.withFloatProducts(2)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("ownProcess")
    void scalesAndCodesAreWhatTheyWere(BackendUnderTest path) {
        try (Backend backend = path.open().get()) {
            assertEquals("", PinnedCalibrations.differences(path.name(), backend, RECORD));
        }
    }

    @Test
    void scalesAndCodesAreWhatTheyWereWithoutAvx512(@TempDir Path scratch) throws Exception {
        OtherProcess.Ended ended = OtherProcess.run(scratch, AVX2, PinnedCalibrations.class, "cpu-avx2", RECORD);
        System.err.print(ended.err());
        assertEquals("", ended.out());
        assertEquals(0, ended.code(), ended.err());
    }

    @Test
    @EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
    void scalesAndCodesAreWhatTheyWereOnTheEmulatedGpu() {
        try (EmulatedGpu gpu = new EmulatedGpu(); Backend backend = BackendUnderTest.compiledGpu()) {
            assertEquals("", PinnedCalibrations.differences("cuda-emulated", backend, RECORD));
        }
    }

    @Test
    void theLastBitOfOneScaleIsSeenAndItsLayerIsNamed() {
        QuantizedModel model;
        try (Backend backend = new CpuBackend(2)) {
            model = PinnedCalibrations.small(backend);
        }
        List<LayerDigest> before = LayerDigest.of("m base W8A8", model);
        List<QuantizedLayer> layers = new ArrayList<>(model.layers());
        for (int at : new int[] {3, 7}) {
            QuantizedLayer layer = layers.get(at);
            List<Quantizer> left = new ArrayList<>(layer.left());
            Quantizer.Uniform uniform = (Quantizer.Uniform) left.get(0);
            left.set(0, new Quantizer.Uniform(Math.nextUp(uniform.scale()), uniform.bits()));
            layers.set(at, new QuantizedLayer(layer.name(), left, layer.right(), layer.weightCodes()));
        }
        List<LayerDigest> now = LayerDigest.of("m base W8A8", new QuantizedModel(model.model(), layers));
        assertEquals(List.of("m base W8A8: " + layers.get(3).name() + " is the first layer that moved: left scales"),
                RecordedDigests.differences(before, now));
    }

    @Test
    void theFirstLayerThatMovedIsNamedAndWhatMoved() {
        List<LayerDigest> before = Stream.of("m base W8A8 a 0 1 2", "m base W8A8 b 0 1 2", "m base W8A8 c 0 1 2",
                "m base W4A4 a 0 1 2").map(LayerDigest::parse).toList();
        List<LayerDigest> now = Stream.of("m base W8A8 a 0 1 2", "m base W8A8 b 0 9 8", "m base W8A8 c 7 1 2",
                "m base W4A4 a 0 1 2").map(LayerDigest::parse).toList();
        assertEquals(List.of(), RecordedDigests.differences(before, before));
        assertEquals(List.of("m base W8A8: b is the first layer that moved: right scales, codes"),
                RecordedDigests.differences(before, now));
        assertEquals(1, RecordedDigests.differences(before, before.subList(0, 3)).size());
        assertEquals(List.of("m base W8A8: other layers than [a, b, c]"),
                RecordedDigests.differences(before, List.of(before.get(0), before.get(3))));
    }
}
