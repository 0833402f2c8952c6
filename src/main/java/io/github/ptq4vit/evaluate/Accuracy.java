package io.github.ptq4vit.evaluate;

import java.util.Optional;

/**
 * How often a model was right.
 *
 * @param images that were classified
 * @param top1Right of them, those whose label was the likeliest class
 * @param top5Right of them, those whose label was among the five likeliest
 * @param paired comparison with another model on the same images
 * @param seconds that the model's forward passes took, without loading images and without the other model
 */
public record Accuracy(int images, int top1Right, int top5Right, Optional<Paired> paired, double seconds) {

    /**
     * Two models, image by image. Their difference says more than two separate percentages: most of the error of those is
     * common to both.
     *
     * @param agreeing images that both put into the same class
     * @param bothRight images that both classified right
     * @param onlyReferenceRight images that only the other model, usually float32, classified right
     * @param onlyModelRight images that only the model, usually quantised, classified right
     * @param referenceTop5Right images whose label was among the five likeliest classes of the other model
     * @param divergence mean Kullback-Leibler divergence of the predictions from those of the other model, in nats: it tells
     *     two quantised models apart by fewer images than their accuracies do
     */
    public record Paired(int agreeing, int bothRight, int onlyReferenceRight, int onlyModelRight, int referenceTop5Right,
            double divergence) {

        /** Images that the other model classified right. */
        public int referenceTop1Right() {
            return bothRight + onlyReferenceRight;
        }
    }

    /** Fraction of images classified right. */
    public double top1() {
        return fraction(top1Right);
    }

    /** Fraction of images whose label was among the five likeliest classes. */
    public double top5() {
        return fraction(top5Right);
    }

    /** A number of images as a fraction of all. */
    public double fraction(int count) {
        return (double) count / images;
    }

    /** Throughput of the forward pass. */
    public double imagesPerSecond() {
        return images / seconds;
    }
}
