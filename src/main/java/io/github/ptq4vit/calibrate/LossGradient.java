package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.model.Predictions;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.apache.commons.math3.random.MersenneTwister;
import org.apache.commons.math3.random.RandomGenerator;

/**
 * The gradient of the loss at the logits: cross-entropy, {@code softmax(logits) - onehot(label)}, with labels that come
 * from the model itself.
 *
 * <p>For the Fisher information every label y takes part, by its probability p(y): the labels are dealt out to the draws, the
 * heaviest each to another, and a draw's gradient is the sum of {@code +-sqrt(draws p(y)) (p - onehot(y))} over its labels with
 * random signs. Products of two labels then cancel in expectation (Hutchinson 1990), and what is left of the mean square over the
 * draws is the Fisher information {@code sum over y of p(y) (p - onehot(y)) (p - onehot(y))^T}: exactly, if there are as many draws
 * as labels. Drawing single labels instead would mostly miss the unlikely ones, by which alone a confident prediction says
 * something.
 *
 * <p>Each image has its own signs, drawn from the seed and its id, so that its gradients depend neither on the other images nor on
 * who computes when.
 */
final class LossGradient {
    private final GradientSource source;
    private final int draws;
    private final long seed;

    LossGradient(GradientSource source, int draws, long seed) {
        this.source = source;
        this.draws = source == GradientSource.FISHER ? draws : 1;
        this.seed = seed;
    }

    /** How many gradients there are for an image. */
    int draws() {
        return draws;
    }

    /**
     * Gradients at the logits of one image.
     *
     * @param imageId its id
     * @param logits {@code [classes]}
     * @return {@code [draws][classes]}
     */
    float[][] at(String imageId, float[] logits) {
        double[] p = Predictions.softmax(logits);
        double[][] labels = new double[draws][p.length];
        if (source == GradientSource.PSEUDO_LABEL) {
            labels[0][largest(p)] = 1;
        } else {
            RandomGenerator random = random(imageId);
            int[] draw = dealt(p);
            for (int label = 0; label < p.length; label++) {
                labels[draw[label]][label] = (random.nextBoolean() ? 1 : -1) * Math.sqrt(draws * p[label]);
            }
        }
        return Arrays.stream(labels).map(weights -> gradient(p, weights)).toArray(float[][]::new);
    }

    /**
     * The draw of each label: one each for those that weigh most, the others in turn. Only the former are compared, lest two
     * devices that disagree in the last bit of unlikely labels deal them otherwise.
     */
    private int[] dealt(double[] p) {
        double squares = DoubleStream.of(p).map(x -> x * x).sum();
        double[] weights = DoubleStream.of(p).map(x -> x * (1 - 2 * x + squares)).toArray();
        int[] draw = IntStream.range(0, p.length).map(label -> label % draws).toArray();
        for (int i = 0; i < Math.min(draws, p.length); i++) {
            int heaviest = largest(weights);
            draw[heaviest] = i;
            weights[heaviest] = Double.NEGATIVE_INFINITY;
        }
        return draw;
    }

    /** The sum of {@code weight(y) (p - onehot(y))} over the labels y. */
    private static float[] gradient(double[] p, double[] weights) {
        double sum = DoubleStream.of(weights).sum();
        float[] gradient = new float[p.length];
        for (int c = 0; c < p.length; c++) {
            gradient[c] = (float) (p[c] * sum - weights[c]);
        }
        return gradient;
    }

    private RandomGenerator random(String imageId) {
        long id = hash(imageId);
        // its seeding mixes all words of the seed; the first numbers of the Well generators hardly depend on most of them
        return new MersenneTwister(new int[] {(int) (seed >>> 32), (int) seed, (int) (id >>> 32), (int) id});
    }

    /** FNV-1a, 64 bits. */
    private static long hash(String text) {
        long hash = 0xcbf29ce484222325L;
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            hash = (hash ^ (b & 0xff)) * 0x100000001b3L;
        }
        return hash;
    }

    private static int largest(double[] numbers) {
        int best = 0;
        for (int i = 1; i < numbers.length; i++) {
            best = numbers[i] > numbers[best] ? i : best;
        }
        return best;
    }
}
