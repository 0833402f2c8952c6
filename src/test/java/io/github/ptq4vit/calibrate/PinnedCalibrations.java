package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.cpu.CpuBackend;
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

/** The calibrations whose digests are recorded, on one backend, and how they compare with what is recorded. */
final class PinnedCalibrations {
    private static final List<String> PRESETS = List.of("base", "ptq4vit");
    private static final List<Integer> BITS = List.of(8, 6, 4);
    private static final Path GOLDEN = Path.of("src", "test", "resources", "golden");
    private static final Path EXAMPLE = Path.of("examples", "characters");
    private static final int IMAGES = 4;
    /** The emulated GPU is slow: one image, and of the example, whose calibrations take a minute there, one preset and width. */
    private static final int EMULATED_IMAGES = 1;

    private PinnedCalibrations() {
    }

    private record Subject(String name, VisionTransformer model, CalibrationImages images) {
        QuantizedModel calibrate(Backend backend, String preset, int width) {
            return new QuantizedModel(model, Calibrator.of(model).on(backend)
                    .config(CalibrationConfig.preset(preset, new BitWidths(width, width))).run(images).layers());
        }
    }

    /**
     * In a process of its own, for what the environment decides: prints the differences of the CPU's calibrations.
     *
     * @param arguments name of the path through the program; {@code true} to record
     */
    public static void main(String[] arguments) {
        try (Backend backend = new CpuBackend(2)) {
            System.out.print(differences(arguments[0], backend, Boolean.parseBoolean(arguments[1])));
        }
    }

    /**
     * Calibrates everything and compares; empty if nothing differs.
     *
     * @param record whether to write the digests down instead
     */
    static String differences(String path, Backend backend, boolean record) {
        FloatKind kind = FloatKind.of(backend);
        RecordedDigests recorded = new RecordedDigests(path, kind);
        if (record) {
            recorded.write(run(backend));
            return "";
        }
        Optional<List<LayerDigest>> before = recorded.read();
        if (before.isPresent()) {
            return String.join("\n", RecordedDigests.differences(before.get(), run(backend)));
        }
        if (recorded.knowsProcessor()) {
            return path + ": the results of float32 operations are not what they were on " + kind;
        }
        System.err.println("Digests for " + path + " on " + kind + " are not recorded, nothing is compared;"
                + " the Javadoc of DigestsTest says how to record them");
        return "";
    }

    private static List<LayerDigest> run(Backend backend) {
        boolean emulated = !backend.device().backend().equals("cpu");
        int images = emulated ? EMULATED_IMAGES : IMAGES;
        List<LayerDigest> digests = new ArrayList<>();
        for (Subject subject : List.of(example(images), golden("vit_tiny", images), golden("swin_tiny", images))) {
            boolean slow = emulated && subject.name.equals("example");
            for (String preset : slow ? List.of("ptq4vit") : PRESETS) {
                for (int width : slow ? List.of(4) : BITS) {
                    digests.addAll(LayerDigest.of(String.join(" ", subject.name, preset, new BitWidths(width, width).toString()),
                            subject.calibrate(backend, preset, width)));
                }
            }
        }
        return digests;
    }

    /** A small calibration. */
    static QuantizedModel small(Backend backend) {
        return golden("vit_tiny", 1).calibrate(backend, "base", 8);
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
