package io.github.ptq4vit.calibrate;

/** Told how far a calibration is. */
@FunctionalInterface
public interface Progress {
    /** Tells nobody. */
    Progress NONE = (step, done, total) -> {
    };

    /**
     * A step was done.
     *
     * @param step what was done: {@code gradients}, or the name of a block
     * @param done layers calibrated so far
     * @param total all layers
     */
    void advanced(String step, int done, int total);
}
