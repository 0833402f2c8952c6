package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import java.util.stream.DoubleStream;
import org.apache.commons.math3.random.MersenneTwister;
import org.apache.commons.math3.random.RandomGenerator;

/**
 * The gradient of the loss at the logits: cross-entropy, {@code softmax(logits) - onehot(label)}, with labels that come
 * from the model itself. Each image has its own random number, drawn from the seed and its id, so that its draws depend neither
 * on the other images nor on who computes when.
 *
 * <p>For the Fisher information a label y is not drawn by its probability p(y) but by p(y) |p - onehot(y)|^2, and its gradient is
 * scaled so that the mean of the squares stays the same: a confident prediction says something only by the labels it deems
 * unlikely, which few draws by probability would miss. All draws of an image are then equally long, and they are spread evenly
 * over the distribution (systematic sampling).
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
        double[] p = softmax(logits);
        if (source == GradientSource.PSEUDO_LABEL) {
            return new float[][] {gradient(p, largest(logits), 1)};
        }
        double squares = DoubleStream.of(p).map(x -> x * x).sum();
        // the sum over y of p(y) |p - onehot(y)|^2
        double all = 1 - squares;
        double start = random(imageId).nextDouble();
        float[][] gradients = new float[draws][];
        int label = 0;
        double passed = 0;
        for (int draw = 0; draw < draws; draw++) {
            double point = (draw + start) / draws * all;
            while (label < p.length - 1 && passed + mass(p, label, squares) <= point) {
                passed += mass(p, label++, squares);
            }
            double square = length(p, label, squares);
            gradients[draw] = gradient(p, label, square > 0 ? Math.sqrt(Math.max(0, all) / square) : 0);
        }
        return gradients;
    }

    /** {@code |p - onehot(label)|^2}. */
    private static double length(double[] p, int label, double squares) {
        return Math.max(0, 1 - 2 * p[label] + squares);
    }

    private static double mass(double[] p, int label, double squares) {
        return p[label] * length(p, label, squares);
    }

    private static float[] gradient(double[] p, int label, double factor) {
        float[] gradient = new float[p.length];
        for (int c = 0; c < p.length; c++) {
            gradient[c] = (float) (factor * (p[c] - (c == label ? 1 : 0)));
        }
        return gradient;
    }

    /** The logits of one image out of {@code [images, classes]}. */
    static float[] row(Tensor logits, int image) {
        float[] row = new float[logits.shape().size(1)];
        logits.data().get(image * row.length, row);
        return row;
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
