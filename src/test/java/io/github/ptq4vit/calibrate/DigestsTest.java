package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import io.github.ptq4vit.golden.GoldenFolder;
import io.github.ptq4vit.golden.GoldenVit;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Scales, codes and the manifest's layers of {@code base} and {@code ptq4vit} are what they were, to the last bit, on every path
 * through the program. That can be said only of one kind of float32 arithmetic at a time ({@link FloatKind}): digests are
 * recorded for each kind in {@code src/test/resources/digests}. On another kind nothing is compared, and the test says so.
 * On a processor and with libraries that digests were recorded with, another kind of arithmetic is a failure.
 *
 * <p>To record the digests of a kind, run on the commit whose bytes are right, and commit the new files:
 *
 * <pre>{@code mvn test -Dtest=DigestsTest -Dptq4vit.digests.record=true}</pre>
 *
 * <p>With {@code ONEDNN_MAX_CPU_ISA=AVX2} in the environment oneDNN behaves as on a processor with no more than that.
 */
class DigestsTest {
    private static final boolean RECORD = Boolean.getBoolean("ptq4vit.digests.record");
    private static final List<String> PRESETS = List.of("base", "ptq4vit");
    private static final List<Integer> BITS = List.of(8, 6, 4);
    private static final Path GOLDEN = Path.of("src", "test", "resources", "golden");
    private static final Path EXAMPLE = Path.of("examples", "characters");
    private static final int IMAGES = 4;
    /** The emulated GPU is slow. */
    private static final int EMULATED_IMAGES = 1;

    private record Subject(String name, VisionTransformer model, CalibrationImages images) {
    }

    static Stream<BackendUnderTest> paths() {
        return Stream.concat(Stream.of(new BackendUnderTest("cpu", () -> new CpuBackend(2)),
                new BackendUnderTest("cpu-float-products", () -> CpuBackend.withFloatProducts(2))),
                EmulatedGpu.isBuilt() ? BackendUnderTest.quickGpus().map(gpu -> new BackendUnderTest("cuda-emulated", gpu.open()))
                        : Stream.empty());
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("paths")
    void scalesAndCodesAreWhatTheyWere(BackendUnderTest path) {
        try (Backend backend = path.open().get()) {
            FloatKind kind = FloatKind.of(backend);
            RecordedDigests recorded = new RecordedDigests(path.name(), kind);
            if (RECORD) {
                recorded.write(calibrate(backend));
                return;
            }
            Optional<List<LayerDigest>> before = recorded.read();
            if (before.isPresent()) {
                List<String> differences = RecordedDigests.differences(before.get(), calibrate(backend));
                assertEquals("", String.join("\n", differences), path.name() + " on " + kind);
            } else {
                assertFalse(recorded.knowsProcessor(), path.name() + ": the results of float32 operations are not what they were on "
                        + kind);
                System.out.println("Digests for " + path.name() + " on " + kind + " are not recorded, nothing is compared;"
                        + " the Javadoc of DigestsTest says how to record them");
            }
        }
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

    private static List<LayerDigest> calibrate(Backend backend) {
        List<LayerDigest> digests = new ArrayList<>();
        int images = backend.device().backend().equals("cpu") ? IMAGES : EMULATED_IMAGES;
        for (Subject subject : List.of(example(images), golden("vit_tiny", images), golden("swin_tiny", images))) {
            for (String preset : PRESETS) {
                for (int width : BITS) {
                    BitWidths bits = new BitWidths(width, width);
                    digests.addAll(LayerDigest.of(String.join(" ", subject.name(), preset, bits.toString()),
                            new QuantizedModel(subject.model(), Calibrator.of(subject.model()).on(backend)
                                    .config(CalibrationConfig.preset(preset, bits)).run(subject.images()).layers())));
                }
            }
        }
        return digests;
    }

    private static Subject example(int images) {
        VisionTransformer model = ModelReader.read(EXAMPLE.resolve("model.safetensors"), ReadOptions.NONE);
        ImageFolder folder = ImageFolder.open(EXAMPLE.resolve("calibration"));
        ImageTransform transform = ImageTransform.timm(model.config().imageSize(), 1, ImageTransform.HALF, ImageTransform.HALF);
        try (ImageLoader loader = ImageLoader.first(images, folder, folder.shuffled(0), transform, images, 1)) {
            Batch batch = loader.next();
            return new Subject("example", model, new CalibrationImages(batch.ids(), batch.pixels()));
        }
    }

    private static Subject golden(String name, int images) {
        try (GoldenFolder folder = GoldenFolder.open(GOLDEN.resolve(name))) {
            Tensor all = folder.inputs().read("calib");
            int[] sizes = all.shape().toArray();
            sizes[0] = images;
            Shape shape = Shape.of(sizes);
            Tensor pixels = Tensor.of(shape, Arrays.copyOf(all.toArray(), Math.toIntExact(shape.elements())));
            List<String> ids = IntStream.range(0, images).mapToObj(i -> "image " + i).toList();
            return new Subject(name, GoldenVit.model(folder), new CalibrationImages(ids, pixels));
        }
    }
}
