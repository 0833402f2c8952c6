package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import org.apache.commons.math3.random.MersenneTwister;
import org.apache.commons.math3.random.RandomGenerator;

/**
 * The gradient of the loss at the logits: cross-entropy, {@code softmax(logits) - onehot(label)}, with labels that come
 * from the model itself. Each image has its own random numbers, drawn from the seed and its id, so that they depend neither
 * on the other images nor on who computes when.
 */
final class LossGradient {
    private final GradientSource source;
    private final int draws;
    private final long seed;

    LossGradient(CalibrationConfig config) {
        this.source = config.gradients();
        this.draws = source == GradientSource.FISHER ? config.draws() : 1;
        this.seed = config.seed();
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
        double[] probabilities = softmax(logits);
        float[][] gradients = new float[draws][logits.length];
        for (int draw = 0; draw < draws; draw++) {
            int label = source == GradientSource.PSEUDO_LABEL ? largest(logits) : sampled(probabilities, imageId, draw);
            for (int c = 0; c < logits.length; c++) {
                gradients[draw][c] = (float) (probabilities[c] - (c == label ? 1 : 0));
            }
        }
        return gradients;
    }

    /** The logits of one image out of {@code [images, classes]}. */
    static float[] row(Tensor logits, int image) {
        float[] row = new float[logits.shape().size(1)];
        logits.data().get(image * row.length, row);
        return row;
    }

    private int sampled(double[] probabilities, String imageId, int draw) {
        long id = hash(imageId);
        // its seeding mixes all words of the seed; the first numbers of the Well generators hardly depend on most of them
        RandomGenerator random = new MersenneTwister(new int[] {(int) (seed >>> 32), (int) seed, (int) (id >>> 32), (int) id, draw});
        double left = random.nextDouble();
        int label = 0;
        while (label < probabilities.length - 1 && left >= probabilities[label]) {
            left -= probabilities[label++];
        }
        return label;
    }

    /** FNV-1a, 64 bits. */
    private static long hash(String text) {
        long hash = 0xcbf29ce484222325L;
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            hash = (hash ^ (b & 0xff)) * 0x100000001b3L;
        }
        return hash;
    }

    private static int largest(float[] numbers) {
        int best = 0;
        for (int i = 1; i < numbers.length; i++) {
            best = numbers[i] > numbers[best] ? i : best;
        }
        return best;
    }

    /** Probabilities of the classes. */
    static double[] softmax(float[] logits) {
        double max = logits[largest(logits)];
        double[] exponentials = new double[logits.length];
        double sum = 0;
        for (int i = 0; i < logits.length; i++) {
            exponentials[i] = Math.exp(logits[i] - max);
            sum += exponentials[i];
        }
        for (int i = 0; i < logits.length; i++) {
            exponentials[i] /= sum;
        }
        return exponentials;
    }
}
