package io.github.ptq4vit.calibrate;

/** Which loss the gradients of the Hessian metric belong to. */
public enum GradientSource {
    /**
     * Cross-entropy against all labels at once, as probable as the model itself predicts, with random signs. Over many draws the
     * mean of the squared gradients is the diagonal of the Fisher information, which is what the metric's derivation asks for.
     */
    FISHER,
    /** Cross-entropy against the predicted label. */
    PSEUDO_LABEL
}
