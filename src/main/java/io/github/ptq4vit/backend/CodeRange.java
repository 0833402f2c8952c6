package io.github.ptq4vit.backend;

/**
 * One uniform range of codes: an element {@code x} with {@code from <= x < to} has the code
 * {@code clamp(roundHalfEven(x / step), min, max)}, by a true float32 division; any other element has code 0. Without
 * limits infinite elements belong to the range as well.
 *
 * @param step the scale, positive and finite
 * @param min smallest code, at least -128
 * @param max largest code, at most 127
 * @param from first value that belongs to the range; minus infinity for none
 * @param to first value beyond the range; infinity for none
 */
public record CodeRange(float step, int min, int max, float from, float to) {

    public CodeRange {
        if (!(step > 0) || Float.isInfinite(step)) {
            throw new IllegalArgumentException("A scale must be positive and finite, not " + step);
        }
        if (min < -128 || max > 127 || min > max) {
            throw new IllegalArgumentException("Codes " + min + ".." + max + " do not fit a signed byte");
        }
    }

    CodeRange withStep(float other) {
        return new CodeRange(other, min, max, from, to);
    }

    /** A range without limits on the values. */
    public static CodeRange unlimited(float step, int min, int max) {
        return new CodeRange(step, min, max, Float.NEGATIVE_INFINITY, Float.POSITIVE_INFINITY);
    }

    /** Whether every value belongs to the range. */
    public boolean isUnlimited() {
        return from == Float.NEGATIVE_INFINITY && to == Float.POSITIVE_INFINITY;
    }

    /** Largest magnitude of a code. */
    public int largestCode() {
        return Math.max(-min, max);
    }

    /** The code of a value, which may not be NaN. */
    public int code(float x) {
        if (!(x >= from && (x < to || to == Float.POSITIVE_INFINITY))) {
            return 0;
        }
        return (int) Math.max(min, Math.min(max, Math.rint(x / step)));
    }
}
