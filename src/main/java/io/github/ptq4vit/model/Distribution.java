package io.github.ptq4vit.model;

/** What is known of the numbers of a layer's left operand, beside what calibration images show. */
public enum Distribution {
    /** Nothing. */
    ANY,
    /** Probabilities: from 0 to 1, the sum of a row is 1, most are small. */
    SOFTMAX,
    /** A short range below 0, a long one above. */
    GELU
}
