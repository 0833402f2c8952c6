package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.evaluate.Ranks;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.Locale;

/**
 * A quantised model on the processor and on a GPU, real or emulated, usual and reproducible: how many predictions agree, how
 * far apart they are, and how many logits differ in any bit.
 *
 * <p>Arguments: quantised folder, image folder, and what replaces parts of the transform, such as {@code resize=none}.
 */
public final class BackendComparison {
    private static final int BATCH = 8;
    private static final int THREADS = Runtime.getRuntime().availableProcessors();

    private BackendComparison() {
    }

    /** Runs it. */
    public static void main(String[] args) {
        Checkpoint checkpoint = Checkpoint.read(Path.of(args[0]));
        ImageFolder folder = ImageFolder.open(Path.of(args[1]));
        ImageTransform usual = ImageTransform.timm(checkpoint.model().model().config().imageSize(), 1, ImageTransform.HALF,
                ImageTransform.HALF).with(checkpoint.transform());
        ImageTransform transform = args.length > 2 ? usual.with(args[2]) : usual;
        try (Backend cpu = Backends.open("cpu"); Backend gpu = Backends.open("cuda")) {
            System.out.println(cpu.device().device() + " and " + gpu.device().device());
            compare("usual", checkpoint, cpu, gpu, folder, transform);
            compare("reproducible", checkpoint, cpu.reproducible(), gpu.reproducible(), folder, transform);
        }
    }

    private static void compare(String name, Checkpoint checkpoint, Backend a, Backend b, ImageFolder folder, ImageTransform transform) {
        int images = 0;
        int agreeing = 0;
        long different = 0;
        double divergence = 0;
        try (Classifier first = Classifier.of(a, checkpoint.model()); Classifier second = Classifier.of(b, checkpoint.model());
                ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, BATCH, THREADS)) {
            while (loader.hasNext()) {
                Batch batch = loader.next();
                Tensor of = first.logits(batch.pixels());
                Tensor against = second.logits(batch.pixels());
                for (int i = 0; i < batch.size(); i++) {
                    agreeing += Ranks.best(of, i) == Ranks.best(against, i) ? 1 : 0;
                    divergence += Predictions.divergence(of, against, i);
                }
                for (int i = 0; i < of.data().limit(); i++) {
                    different += Float.floatToIntBits(of.data().get(i)) == Float.floatToIntBits(against.data().get(i)) ? 0 : 1;
                }
                images += batch.size();
            }
        }
        System.out.printf(Locale.ROOT, "%-12s %d of %d images in the same class, mean KL %.2e, %d logits with other bits%n", name,
                agreeing, images, divergence / images, different);
    }
}
