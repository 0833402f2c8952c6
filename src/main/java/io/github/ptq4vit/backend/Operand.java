package io.github.ptq4vit.backend;

/** A side of a matrix product {@code L x R}. */
public enum Operand {
    /** L: activations, queries, attention probabilities. */
    LEFT,
    /** R: transposed weights, transposed keys, values. */
    RIGHT
}
