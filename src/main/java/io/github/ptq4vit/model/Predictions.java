package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Tensor;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/** What logits predict. */
public final class Predictions {
    private Predictions() {
    }

    /** Probabilities of the classes, from the logits of one image. */
    public static double[] softmax(float[] logits) {
        double max = Double.NEGATIVE_INFINITY;
        for (float logit : logits) {
            max = Math.max(max, logit);
        }
        double largest = max;
        double[] exponentials = IntStream.range(0, logits.length).mapToDouble(i -> Math.exp(logits[i] - largest)).toArray();
        double sum = DoubleStream.of(exponentials).sum();
        return DoubleStream.of(exponentials).map(e -> e / sum).toArray();
    }

    /** The logits of one image out of {@code [images, classes]}. */
    public static float[] row(Tensor logits, int image) {
        float[] row = new float[logits.shape().size(1)];
        logits.data().get(image * row.length, row);
        return row;
    }

    /**
     * Kullback-Leibler divergence of one image's prediction from the expected one, {@code sum of p log(p / q)}, in nats.
     *
     * @param expected logits {@code [images, classes]}
     * @param logits those that are compared, likewise
     */
    public static double divergence(Tensor expected, Tensor logits, int image) {
        double[] p = softmax(row(expected, image));
        double[] q = softmax(row(logits, image));
        double sum = 0;
        for (int c = 0; c < p.length; c++) {
            sum += p[c] == 0 ? 0 : p[c] * Math.log(p[c] / Math.max(q[c], Double.MIN_NORMAL));
        }
        return sum;
    }

    /**
     * How much less often than the expected prediction of one image the other is right, if labels come as the expected logits
     * say: 0 for the same class, else the difference of both classes' probabilities.
     *
     * @param expected logits {@code [images, classes]}
     * @param logits those that are compared, likewise
     */
    public static double expectedDrop(Tensor expected, Tensor logits, int image) {
        double[] p = softmax(row(expected, image));
        return p[best(row(expected, image))] - p[best(row(logits, image))];
    }

    private static int best(float[] logits) {
        int best = 0;
        for (int c = 1; c < logits.length; c++) {
            best = logits[c] > logits[best] ? c : best;
        }
        return best;
    }
}
