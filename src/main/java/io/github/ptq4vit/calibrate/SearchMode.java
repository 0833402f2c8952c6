package io.github.ptq4vit.calibrate;

/** How the candidates of a search are visited. */
public enum SearchMode {
    /** Every candidate on all of the calibration data. */
    EXHAUSTIVE,
    /**
     * A coarse grid first, then the candidates around the best few, on growing parts of the data, the heaviest rows first; a
     * candidate is dropped as soon as its loss on a part exceeds a complete candidate's on everything.
     */
    PROGRESSIVE
}
