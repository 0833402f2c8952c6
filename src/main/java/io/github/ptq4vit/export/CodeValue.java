package io.github.ptq4vit.export;

import java.util.OptionalInt;

/**
 * Codes in a graph.
 *
 * @param codes the value with the stored codes
 * @param scale constant, one number or one for each index of the axis
 * @param zeroPoint constant of the codes' type that is taken off them, of the scale's sizes
 * @param axis of the scales; none for one scale
 */
record CodeValue(String codes, String scale, String zeroPoint, OptionalInt axis) {
    CodeValue(String codes, String scale, String zeroPoint) {
        this(codes, scale, zeroPoint, OptionalInt.empty());
    }

    /** The same of a value with the same codes in other places. */
    CodeValue moved(String other) {
        return new CodeValue(other, scale, zeroPoint, axis);
    }
}
