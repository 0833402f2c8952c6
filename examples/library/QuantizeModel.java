import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.calibrate.SearchMode;
import io.github.ptq4vit.evaluate.Accuracy;
import io.github.ptq4vit.evaluate.Evaluator;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import java.nio.file.Path;
import java.util.OptionalInt;

/**
 * The library without its command line: quantise the model in {@code examples/characters} to 6 bits and count how often it
 * is right. After {@code ./ptq4vit devices}, which builds the jar, run
 *
 * <pre>java -cp target/ptq4vit.jar examples/library/QuantizeModel.java examples/characters</pre>
 */
public final class QuantizeModel {
    private QuantizeModel() {
    }

    public static void main(String[] args) {
        Path example = Path.of(args[0]);
        VisionTransformer model = ModelReader.read(example.resolve("model.safetensors"), OptionalInt.empty());
        ImageTransform transform = ImageTransform.timm(model.config().imageSize(), 1, ImageTransform.HALF, ImageTransform.HALF);
        try (Backend backend = Backends.open("auto")) {
            CalibrationResult result = Calibrator.of(model).on(backend)
                    .config(CalibrationConfig.ptq4vit(new BitWidths(6, 6)).withSearch(SearchMode.PROGRESSIVE))
                    .run(images(example.resolve("calibration"), transform, 16));
            System.out.printf("%d layers in %.1f s%n", result.layers().size(), result.seconds());

            ImageFolder folder = ImageFolder.open(example.resolve("validation"));
            Labels labels = Labels.read(example.resolve("validation/labels.txt"), folder, model.config().classes());
            try (Classifier quantized = Classifier.of(backend, new QuantizedModel(model, result.layers()));
                    Classifier reference = Classifier.of(backend, model);
                    ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, 64, 2)) {
                Accuracy accuracy = Evaluator.of(quantized).against(reference).run(loader, labels, done -> {
                });
                System.out.printf("top-1 %.2f %% of %d images, the float32 model %.2f %%%n", 100 * accuracy.top1(),
                        accuracy.images(), 100 * accuracy.fraction(accuracy.paired().orElseThrow().referenceTop1Right()));
            }
        }
    }

    /** The first images in the order that seed 0 gives. */
    private static CalibrationImages images(Path folder, ImageTransform transform, int count) {
        ImageFolder images = ImageFolder.open(folder);
        try (ImageLoader loader = ImageLoader.first(count, images, images.shuffled(0), transform, count, 2)) {
            Batch batch = loader.next();
            return new CalibrationImages(batch.ids(), batch.pixels());
        }
    }
}
