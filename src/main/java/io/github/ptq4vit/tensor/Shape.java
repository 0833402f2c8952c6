package io.github.ptq4vit.tensor;

import java.util.Arrays;

/** The sizes of a row-major array, outermost axis first. Immutable; equal by value. */
public final class Shape {
    private final int[] sizes;

    private Shape(int[] sizes) {
        for (int size : sizes) {
            if (size < 0) {
                throw new IllegalArgumentException("Sizes may not be negative: " + Arrays.toString(sizes));
            }
        }
        this.sizes = sizes;
    }

    /** The shape with these sizes; no sizes at all is a scalar. */
    public static Shape of(int... sizes) {
        return new Shape(sizes.clone());
    }

    /** Number of axes. */
    public int rank() {
        return sizes.length;
    }

    /** Size of an axis; a negative axis counts from the end. */
    public int size(int axis) {
        return sizes[axis < 0 ? sizes.length + axis : axis];
    }

    /** Product of all sizes; 1 for a scalar. */
    public long elements() {
        long product = 1;
        for (int size : sizes) {
            product = Math.multiplyExact(product, size);
        }
        return product;
    }

    /** A copy of the sizes. */
    public int[] toArray() {
        return sizes.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape shape && Arrays.equals(sizes, shape.sizes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(sizes);
    }

    /** For messages: {@code [192, 768]}. */
    @Override
    public String toString() {
        return Arrays.toString(sizes);
    }
}
