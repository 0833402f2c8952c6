import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.calibrate.CalibrationImages;
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
import io.github.ptq4vit.quant.QuantizedLayer;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;

/**
 * The model and the images of {@code examples/characters}, which all programs of this folder use.
 *
 * @param folder where they are
 * @param model the float32 model
 */
record Characters(Path folder, VisionTransformer model) {

    static Characters in(String folder) {
        Path path = Path.of(folder);
        return new Characters(path, ModelReader.read(path.resolve("model.safetensors"), OptionalInt.empty()));
    }

    /** Calibration images, in the order that seed 0 gives. */
    CalibrationImages images(int count) {
        ImageFolder images = ImageFolder.open(folder.resolve("calibration"));
        try (ImageLoader loader = ImageLoader.first(count, images, images.shuffled(0), transform(), count, 2)) {
            Batch batch = loader.next();
            return new CalibrationImages(batch.ids(), batch.pixels());
        }
    }

    /** How often the quantised model is right on the validation images, compared with the float32 model. */
    Accuracy accuracy(Backend backend, VisionTransformer network, List<QuantizedLayer> layers) {
        ImageFolder images = ImageFolder.open(folder.resolve("validation"));
        Labels labels = Labels.read(folder.resolve("validation/labels.txt"), images, model.config().classes());
        try (Classifier quantized = Classifier.of(backend, new QuantizedModel(network, layers));
                Classifier reference = Classifier.of(backend, model);
                ImageLoader loader = ImageLoader.all(images, images.ids(), transform(), 64, 2)) {
            return Evaluator.of(quantized).against(reference).run(loader, labels, done -> {
            });
        }
    }

    private ImageTransform transform() {
        return ImageTransform.timm(model.config().imageSize(), 1, ImageTransform.HALF, ImageTransform.HALF);
    }
}
