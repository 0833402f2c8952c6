package io.github.ptq4vit.evaluate;

import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Iterator;
import java.util.Optional;
import java.util.function.IntConsumer;

/**
 * Counts how often a model is right, if wanted image by image against another model. Batches can come from an image loader,
 * which decodes the next ones in the meantime, or be given one by one:
 *
 * <pre>{@code
 * Evaluator evaluator = Evaluator.of(quantized).against(reference);
 * evaluator.add(pixels, labels);
 * Accuracy accuracy = evaluator.accuracy();
 * }</pre>
 */
public final class Evaluator {
    private static final int FIVE = 5;

    private final Classifier model;
    private final Optional<Classifier> reference;
    private int images;
    private int top1;
    private int top5;
    private int agreeing;
    private int bothRight;
    private int onlyReference;
    private int onlyModel;
    private int referenceTop5;
    private double divergences;
    private long nanos;

    private Evaluator(Classifier model, Optional<Classifier> reference) {
        this.model = model;
        this.reference = reference;
    }

    /** Of a model by itself. */
    public static Evaluator of(Classifier model) {
        return new Evaluator(model, Optional.empty());
    }

    /**
     * The same, compared with another model.
     *
     * @throws IllegalArgumentException if they have different classes or take images of different size
     */
    public Evaluator against(Classifier other) {
        if (other.config().classes() != model.config().classes() || other.config().imageSize() != model.config().imageSize()) {
            throw new IllegalArgumentException("A model of " + model.config().classes() + " classes and images of "
                    + model.config().imageSize() + " pixels cannot be compared with one of " + other.config().classes()
                    + " classes and " + other.config().imageSize() + " pixels");
        }
        return new Evaluator(model, Optional.of(other));
    }

    /**
     * Classifies some images.
     *
     * @param pixels {@code [images, channels, side, side]}, normalised
     * @param labels true class of each
     */
    public void add(Tensor pixels, int[] labels) {
        long start = System.nanoTime();
        Tensor logits = model.logits(pixels);
        nanos += System.nanoTime() - start;
        Optional<Tensor> others = reference.map(r -> r.logits(pixels));
        for (int i = 0; i < labels.length; i++) {
            int rank = Ranks.of(labels[i], logits, i);
            images++;
            top1 += rank == 0 ? 1 : 0;
            top5 += rank < FIVE ? 1 : 0;
            if (others.isPresent()) {
                compare(labels[i], rank == 0, logits, others.get(), i);
            }
        }
    }

    /**
     * Classifies all batches.
     *
     * @param progress told the number of images so far
     */
    public Accuracy run(Iterator<Batch> batches, Labels labels, IntConsumer progress) {
        while (batches.hasNext()) {
            Batch batch = batches.next();
            add(batch.pixels(), labels.of(batch.ids()));
            progress.accept(images);
        }
        return accuracy();
    }

    /**
     * What was counted so far.
     *
     * @throws IllegalStateException if there were no images
     */
    public Accuracy accuracy() {
        if (images == 0) {
            throw new IllegalStateException("No images were evaluated");
        }
        return new Accuracy(images, top1, top5, reference.map(r -> new Accuracy.Paired(agreeing, bothRight, onlyReference,
                onlyModel, referenceTop5, divergences / images)), nanos / 1e9);
    }

    private void compare(int label, boolean right, Tensor logits, Tensor others, int image) {
        int rank = Ranks.of(label, others, image);
        agreeing += Ranks.best(logits, image) == Ranks.best(others, image) ? 1 : 0;
        bothRight += right && rank == 0 ? 1 : 0;
        onlyReference += !right && rank == 0 ? 1 : 0;
        onlyModel += right && rank != 0 ? 1 : 0;
        referenceTop5 += rank < FIVE ? 1 : 0;
        divergences += Predictions.divergence(others, logits, image);
    }
}
