package io.github.ptq4vit.evaluate;

import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Counts how often several models are right on the same images, and how often they agree with the first of them, the
 * reference. Each image is classified once by each model. Counting can go on from earlier counts.
 */
public final class Comparison {
    private static final int FIVE = 5;

    private final List<Classifier> models;
    private final List<Tally> tallies;

    /**
     * How one model fared.
     *
     * @param images that were classified
     * @param top1 of them, those whose label was the likeliest class
     * @param top5 of them, those whose label was among the five likeliest
     * @param agreeing of them, those that the reference put into the same class
     */
    public record Tally(int images, int top1, int top5, int agreeing) {
        /** Nothing counted yet. */
        public static final Tally NONE = new Tally(0, 0, 0, 0);

        /** A number of images as a fraction of all. */
        public double fraction(int count) {
            return (double) count / images;
        }
    }

    /** Starts from zero; the first model is the reference. */
    public Comparison(List<Classifier> models) {
        this(models, Collections.nCopies(models.size(), Tally.NONE));
    }

    /**
     * Goes on.
     *
     * @param soFar one for each model
     * @throws IllegalArgumentException if there are no models, or not as many counts
     */
    public Comparison(List<Classifier> models, List<Tally> soFar) {
        if (models.isEmpty() || soFar.size() != models.size()) {
            throw new IllegalArgumentException(soFar.size() + " counts for " + models.size() + " models");
        }
        this.models = List.copyOf(models);
        this.tallies = new ArrayList<>(soFar);
    }

    /**
     * Classifies some images.
     *
     * @param pixels {@code [images, channels, side, side]}, normalised
     * @param labels true class of each
     */
    public void add(Tensor pixels, int[] labels) {
        Tensor reference = models.get(0).logits(pixels);
        for (int m = 0; m < models.size(); m++) {
            Tensor logits = m == 0 ? reference : models.get(m).logits(pixels);
            Tally t = tallies.get(m);
            int top1 = t.top1;
            int top5 = t.top5;
            int agreeing = t.agreeing;
            for (int i = 0; i < labels.length; i++) {
                int rank = Ranks.of(labels[i], logits, i);
                top1 += rank == 0 ? 1 : 0;
                top5 += rank < FIVE ? 1 : 0;
                agreeing += Ranks.best(logits, i) == Ranks.best(reference, i) ? 1 : 0;
            }
            tallies.set(m, new Tally(t.images + labels.length, top1, top5, agreeing));
        }
    }

    /** The counts so far, one for each model. */
    public List<Tally> tallies() {
        return List.copyOf(tallies);
    }
}
