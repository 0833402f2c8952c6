package io.github.ptq4vit.calibrate;

/** How the candidates of a search are visited. */
public enum SearchMode {
    /** Every candidate on all of the calibration data. */
    EXHAUSTIVE,
    /**
     * The same choice with less work: all candidates on the heaviest rows, the leader on everything, then the others on
     * growing parts of the data for as long as their loss is not above the leader's complete one. Losses only grow, so a
     * candidate that is dropped cannot have won.
     */
    PROGRESSIVE
}
