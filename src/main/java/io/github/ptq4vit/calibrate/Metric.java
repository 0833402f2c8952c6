package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Distance;

/** How good a layer's quantised output O^ is, compared with its float32 output O. */
public enum Metric {
    /** Sum of {@code g^2 (O - O^)^2} with the gradient g of the loss at O (PTQ4ViT, equation 7). */
    HESSIAN(Distance.SQUARED),
    /** Cosine similarity along the feature axis, averaged over rows. */
    COSINE(Distance.COSINE),
    /** Pearson correlation along the feature axis, averaged over rows. */
    PEARSON(Distance.PEARSON),
    /** Sum of {@code |O - O^|}. */
    L1(Distance.ABSOLUTE),
    /** Sum of {@code (O - O^)^2}. */
    L2(Distance.SQUARED),
    /** Sum of {@code |O| (O - O^)^2}. */
    LINEAR_WEIGHTED_L2(Distance.SQUARED),
    /** Sum of {@code O^2 (O - O^)^2}. */
    SQUARE_WEIGHTED_L2(Distance.SQUARED);

    private final Distance distance;

    Metric(Distance distance) {
        this.distance = distance;
    }

    /** What backends compute for it. */
    public Distance distance() {
        return distance;
    }

    /** Whether gradients are needed. */
    public boolean needsGradients() {
        return this == HESSIAN;
    }
}
