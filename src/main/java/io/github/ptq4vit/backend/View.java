package io.github.ptq4vit.backend;

import java.util.Arrays;
import java.util.function.LongFunction;
import java.util.stream.IntStream;

/**
 * A strided window on a {@link Buffer}: where it starts, its sizes and its strides in elements, outermost axis first.
 * Slicing, transposing and splitting heads move no data. Immutable.
 */
public final class View {
    private final Buffer buffer;
    private final long offset;
    private final int[] sizes;
    private final long[] strides;

    private View(Buffer buffer, long offset, int[] sizes, long[] strides) {
        this.buffer = buffer;
        this.offset = offset;
        this.sizes = sizes;
        this.strides = strides;
    }

    /** A row-major window over a whole new buffer. */
    static View dense(int[] sizes, LongFunction<Buffer> allocate) {
        return new View(allocate.apply(product(sizes)), 0, sizes.clone(), denseStrides(sizes));
    }

    /** A row-major window that covers all of a buffer. */
    public static View over(Buffer buffer, int... sizes) {
        if (product(sizes) != buffer.elements()) {
            throw new IllegalArgumentException("Sizes " + Arrays.toString(sizes) + " do not cover a buffer of "
                    + buffer.elements() + " elements");
        }
        return new View(buffer, 0, sizes.clone(), denseStrides(sizes));
    }

    /** The memory this is a window on. */
    public Buffer buffer() {
        return buffer;
    }

    /** First element, counted from the start of the buffer. */
    public long offset() {
        return offset;
    }

    /** Number of axes. */
    public int rank() {
        return sizes.length;
    }

    /** Size of an axis; a negative axis counts from the end. */
    public int size(int axis) {
        return sizes[axis < 0 ? sizes.length + axis : axis];
    }

    /** Distance in elements between neighbours along an axis; a negative axis counts from the end. */
    public long stride(int axis) {
        return strides[axis < 0 ? strides.length + axis : axis];
    }

    /** A copy of the sizes. */
    public int[] sizes() {
        return sizes.clone();
    }

    /** A copy of the strides. */
    public long[] strides() {
        return strides.clone();
    }

    /** Product of the sizes. */
    public long elements() {
        return product(sizes);
    }

    /** Whether the elements lie row-major without gaps. */
    public boolean isDense() {
        long dense = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            if (sizes[i] != 1 && strides[i] != dense) {
                return false;
            }
            dense *= sizes[i];
        }
        return true;
    }

    /** The same dense memory under other sizes. */
    public View reshape(int... newSizes) {
        if (!isDense() || product(newSizes) != elements()) {
            throw new IllegalArgumentException("Cannot see " + this + " as " + Arrays.toString(newSizes));
        }
        return new View(buffer, offset, newSizes.clone(), denseStrides(newSizes));
    }

    /** Entries {@code from} (inclusive) to {@code to} (exclusive) of an axis. */
    public View slice(int axis, int from, int to) {
        if (from < 0 || to > sizes[axis] || from > to) {
            throw new IndexOutOfBoundsException("[" + from + ", " + to + ") of axis " + axis + " of " + this);
        }
        int[] newSizes = sizes.clone();
        newSizes[axis] = to - from;
        return new View(buffer, offset + from * strides[axis], newSizes, strides);
    }

    /** One entry of the outermost axis, without that axis. */
    public View at(int index) {
        View entry = slice(0, index, index + 1);
        return new View(buffer, entry.offset, Arrays.copyOfRange(sizes, 1, sizes.length),
                Arrays.copyOfRange(strides, 1, strides.length));
    }

    /** All axes but the last as one; dense. */
    public View rows() {
        return reshape(Math.toIntExact(elements() / size(-1)), size(-1));
    }

    /** The same elements without an axis of size 1. */
    public View dropAxis(int axis) {
        if (sizes[axis] != 1) {
            throw new IllegalArgumentException("Axis " + axis + " of " + this + " has more than one entry");
        }
        int[] others = IntStream.range(0, sizes.length).filter(i -> i != axis).toArray();
        return permute(others);
    }

    /** The axes in another order. */
    public View permute(int... axes) {
        int[] newSizes = new int[axes.length];
        long[] newStrides = new long[axes.length];
        for (int i = 0; i < axes.length; i++) {
            newSizes[i] = sizes[axes[i]];
            newStrides[i] = strides[axes[i]];
        }
        return new View(buffer, offset, newSizes, newStrides);
    }

    /** The last two axes exchanged. */
    public View transpose() {
        int[] axes = new int[sizes.length];
        Arrays.setAll(axes, i -> i);
        axes[sizes.length - 2] = sizes.length - 1;
        axes[sizes.length - 1] = sizes.length - 2;
        return permute(axes);
    }

    /** One axis as two: {@code size = outer * inner}. */
    public View split(int axis, int outer) {
        if (sizes[axis] % outer != 0) {
            throw new IllegalArgumentException("Axis " + axis + " of " + this + " does not divide by " + outer);
        }
        int inner = sizes[axis] / outer;
        int[] newSizes = new int[sizes.length + 1];
        long[] newStrides = new long[sizes.length + 1];
        for (int i = 0, j = 0; i < sizes.length; i++) {
            if (i == axis) {
                newSizes[j] = outer;
                newStrides[j++] = strides[i] * inner;
                newSizes[j] = inner;
                newStrides[j++] = strides[i];
            } else {
                newSizes[j] = sizes[i];
                newStrides[j++] = strides[i];
            }
        }
        return new View(buffer, offset, newSizes, newStrides);
    }

    /** For messages. */
    @Override
    public String toString() {
        return buffer.type() + Arrays.toString(sizes) + (isDense() ? "" : " strides " + Arrays.toString(strides));
    }

    private static long product(int[] sizes) {
        long product = 1;
        for (int size : sizes) {
            product *= size;
        }
        return product;
    }

    private static long[] denseStrides(int[] sizes) {
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= sizes[i];
        }
        return strides;
    }
}
