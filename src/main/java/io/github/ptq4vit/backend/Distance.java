package io.github.ptq4vit.backend;

/** How the output of quantised operands is compared with the float32 output. All are sums over rows; smaller is better. */
public enum Distance {
    /** Sum of {@code w (O - O^)^2}; without weights w = 1. */
    SQUARED,
    /** Sum of {@code |O - O^|}. */
    ABSOLUTE,
    /** Sum over rows of 1 - cosine similarity; columns are split by the groups of the searched operand. */
    COSINE,
    /** Sum over rows of 1 - Pearson correlation; columns are split by the groups of the searched operand. */
    PEARSON
}
