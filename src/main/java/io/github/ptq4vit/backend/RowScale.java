package io.github.ptq4vit.backend;

/** What the numbers of a row have in common when they become codes, and codes become numbers. Rows are along the last axis. */
public enum RowScale {
    /** Nothing. */
    NONE,
    /**
     * What codes stand for is divided by its sum over the row (unless that is 0), since rows of probabilities sum to 1 and
     * should still do so after quantisation.
     */
    SUM,
    /**
     * Numbers are divided by the range of their row, see {@link RowRange}, before they become codes, and what codes stand for is
     * multiplied with it: scales follow the numbers (dynamic quantisation). A row of the right operand of a product is what
     * meets a row of the left one, that is a column.
     */
    RANGE
}
