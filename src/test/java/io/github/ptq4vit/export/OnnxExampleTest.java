package io.github.ptq4vit.export;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.evaluate.Ranks;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The whole network in ONNX Runtime, on all validation images of the example. */
class OnnxExampleTest {
    private static final Path EXAMPLE = Path.of("examples", "characters");
    private static final int CALIBRATION_IMAGES = 32;

    private static Backend backend;
    private static VisionTransformer model;
    private static List<Tensor> images;

    @BeforeAll
    static void load() {
        backend = Backends.open("cpu");
        model = ModelReader.read(EXAMPLE.resolve("model.safetensors"), ReadOptions.NONE);
        images = images("validation", Integer.MAX_VALUE);
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    @Test
    void inFloat32NearlyNothingDiffers() throws OrtException {
        try (Classifier ours = Classifier.of(backend, model)) {
            compare(ours, OnnxModel.of(model, new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8)), 0.999, 1e-9);
        }
    }

    @Test
    void withEightBitsTheModelsAgree() throws OrtException {
        QuantizedModel quantized = calibrated(new BitWidths(8, 8));
        try (Classifier ours = Classifier.of(backend, quantized)) {
            compare(ours, OnnxModel.of(quantized, new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8)), 0.99, 2e-3);
        }
    }

    @Test
    void withWeightsOfFourBitsInHalfBytesTheModelsAgree() throws OrtException {
        QuantizedModel quantized = calibrated(new BitWidths(4, 8));
        try (Classifier ours = Classifier.of(backend, quantized)) {
            compare(ours, OnnxModel.of(quantized, new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT4)), 0.99, 2e-3);
        }
    }

    private static void compare(Classifier ours, OnnxModel exported, double leastAgreement, double mostDivergence)
            throws OrtException {
        int agreeing = 0;
        int count = 0;
        double divergence = 0;
        try (RuntimeSession runtime = new RuntimeSession(exported.toBytes())) {
            for (Tensor pixels : images) {
                Tensor a = ours.logits(pixels);
                Tensor b = runtime.logits(pixels);
                for (int image = 0; image < a.shape().size(0); image++) {
                    agreeing += Ranks.best(a, image) == Ranks.best(b, image) ? 1 : 0;
                    divergence += Predictions.divergence(a, b, image);
                    count++;
                }
            }
        }
        String found = agreeing + " of " + count + " agree, mean KL " + divergence / count;
        System.out.println("ONNX Runtime: " + found);
        assertTrue(count == 800 && agreeing >= leastAgreement * count, found);
        assertTrue(divergence / count <= mostDivergence, found);
    }

    private static QuantizedModel calibrated(BitWidths bits) {
        Tensor pixels = images("calibration", CALIBRATION_IMAGES).get(0);
        List<String> ids = IntStream.range(0, CALIBRATION_IMAGES).mapToObj(i -> "image" + i).toList();
        return new QuantizedModel(model, Calibrator.of(model).on(backend).config(CalibrationConfig.ptq4vit(bits))
                .run(new CalibrationImages(ids, pixels)).layers());
    }

    private static List<Tensor> images(String folder, int most) {
        ImageFolder all = ImageFolder.open(EXAMPLE.resolve(folder));
        ImageTransform transform = ImageTransform.timm(model.config().imageSize(), 1, ImageTransform.HALF, ImageTransform.HALF);
        List<Tensor> batches = new ArrayList<>();
        List<String> ids = all.ids().subList(0, Math.min(most, all.size()));
        try (ImageLoader loader = ImageLoader.all(all, ids, transform, CALIBRATION_IMAGES, 2)) {
            while (loader.hasNext()) {
                Batch batch = loader.next();
                batches.add(batch.pixels());
            }
        }
        return batches;
    }
}
