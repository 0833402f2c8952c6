package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A real model, ViT-Ti/16 if no other is given, on a GPU and on the CPU. Weights and photographs are those of
 * {@code -Dptq4vit.tests.model=FILE -Dptq4vit.tests.images=FOLDER}, else those beside the project; without them it is left out.
 */
@Tag("gpu")
class RealModelTest {
    private static final Path MODEL = Path.of(System.getProperty("ptq4vit.tests.model",
            "../shared/models/vit_tiny_patch16_224/model.safetensors"));
    private static final Path IMAGES = Path.of(System.getProperty("ptq4vit.tests.images", "../shared/images/calib"));
    private static final int COUNT = Integer.getInteger("ptq4vit.tests.count", 4);
    /** Logits of quantised networks are chaotic; their errors are compared as those with the reference's are. */
    private static final double LOGITS = 2;

    @BeforeEach
    void aModelAndImages() {
        String left = "Left out: there is no model " + MODEL + " with images in " + IMAGES;
        if (!Files.exists(MODEL) || !Files.isDirectory(IMAGES)) {
            System.out.println(left);
            assumeTrue(false, left);
        }
    }

    @ParameterizedTest(name = "{0} bits")
    @ValueSource(ints = {8, 6})
    void onEqualNumbersEverySearchChoosesAsOnTheCpu(int bits) {
        VisionTransformer model = ModelReader.read(MODEL, OptionalInt.empty());
        String agreement = CudaCalibrationTest.assertSearchesAgree(gpu(), model, images(model),
                CalibrationConfig.ptq4vit(new BitWidths(bits, bits)));
        System.out.println(model.config().name() + ", " + COUNT + " images, " + bits + " bits, on " + gpu() + ": " + agreement);
    }

    @ParameterizedTest(name = "{0} bits")
    @ValueSource(ints = {8, 6})
    void calibratedFromEndToEndItIsAsGoodAsByTheCpu(int bits) {
        VisionTransformer model = ModelReader.read(MODEL, OptionalInt.empty());
        CalibrationImages images = images(model);
        CalibrationConfig config = CalibrationConfig.ptq4vit(new BitWidths(bits, bits));
        CalibrationResult found;
        Tensor reproducible;
        try (Backend backend = gpu().open().get()) {
            found = Calibrator.of(model).on(backend).config(config).run(images);
            reproducible = QuantizedVit.logits(backend.reproducible(), model, found.layers(), images.pixels());
        }
        try (Backend cpu = new CpuBackend(); Scope scope = cpu.scope()) {
            Tensor truth = new Network(cpu, scope, model).logits(new FloatArithmetic(cpu, scope, model), images.pixels());
            CalibrationResult own = Calibrator.of(model).on(cpu).config(config).run(images);
            double error = meanSquare(QuantizedVit.logits(cpu, model, found.layers(), images.pixels()), truth);
            double theirs = meanSquare(QuantizedVit.logits(cpu, model, own.layers(), images.pixels()), truth);
            String words = String.format(Locale.ROOT, "%s, %d images, %d bits: squared error of the logits, calibrated on %s %.4g,"
                    + " on the CPU %.4g", model.config().name(), COUNT, bits, gpu(), error, theirs);
            System.out.println(words);
            assertTrue(error <= LOGITS * theirs, words);
            assertArrayEquals(QuantizedVit.logits(cpu.reproducible(), model, found.layers(), images.pixels()).toArray(),
                    reproducible.toArray(), "the same bits with both backends");
        }
    }

    private static BackendUnderTest gpu() {
        return BackendUnderTest.quickGpus().findFirst().orElseThrow();
    }

    private static double meanSquare(Tensor a, Tensor b) {
        float[] one = a.toArray();
        float[] other = b.toArray();
        double sum = 0;
        for (int i = 0; i < one.length; i++) {
            sum += (one[i] - other[i]) * (double) (one[i] - other[i]);
        }
        return sum / one.length;
    }

    private static CalibrationImages images(VisionTransformer model) {
        ImageFolder folder = ImageFolder.open(IMAGES);
        ImageTransform transform = ImageTransform.timm(model.config().imageSize(), 0.9, ImageTransform.HALF, ImageTransform.HALF);
        try (ImageLoader loader = ImageLoader.first(COUNT, folder, folder.shuffled(0), transform, COUNT, 1)) {
            Batch batch = loader.next();
            return new CalibrationImages(batch.ids(), batch.pixels());
        }
    }
}
