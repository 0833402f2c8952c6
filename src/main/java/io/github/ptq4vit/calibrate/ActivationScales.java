package io.github.ptq4vit.calibrate;

/** Where the scales of activations come from. */
public enum ActivationScales {
    /** From the calibration images: constants of the quantised model. */
    STATIC,
    /** From each row of the activations while the model runs; only what part of the range they cover comes from the calibration. */
    DYNAMIC
}
