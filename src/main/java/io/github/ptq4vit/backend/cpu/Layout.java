package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.View;
import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/** Type, sizes and strides of an array, equal by value: what a primitive is compiled for, and found again by. */
final class Layout {
    private final int type;
    /** Outermost first. */
    private final long[] sizes;
    /** In elements; empty leaves the layout to oneDNN. */
    private final long[] strides;
    private final int hash;

    private Layout(int type, long[] sizes, long[] strides) {
        this.type = type;
        this.sizes = sizes;
        this.strides = strides;
        this.hash = 31 * (31 * type + Arrays.hashCode(sizes)) + Arrays.hashCode(strides);
    }

    /**
     * Of a view. Strides of axes of size 1, which mean nothing, are made to span all that lies inside: with others oneDNN
     * takes one layout for another and computes nonsense, or writes where it must not.
     */
    static Layout of(View view) {
        int type = switch (view.buffer().type()) {
            case FLOAT32 -> dnnl.dnnl_f32;
            case INT8 -> dnnl.dnnl_s8;
        };
        long[] strides = view.strides();
        for (int axis = strides.length - 1; axis >= 0; axis--) {
            if (view.size(axis) == 1) {
                strides[axis] = 1;
                for (int inner = axis + 1; inner < strides.length; inner++) {
                    strides[axis] = Math.max(strides[axis], strides[inner] * view.size(inner));
                }
            }
        }
        return new Layout(type, IntStream.of(view.sizes()).asLongStream().toArray(), strides);
    }

    /** @param type oneDNN's number of the type */
    static Layout dense(int type, long... sizes) {
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= sizes[i];
        }
        return new Layout(type, sizes, strides);
    }

    /** The layout is oneDNN's choice. */
    static Layout packed(int type, long... sizes) {
        return new Layout(type, sizes, new long[0]);
    }

    /** Exchanges the last two axes. */
    Layout transposed() {
        return new Layout(type, swapped(sizes), swapped(strides));
    }

    /** The first rows and columns of a matrix. */
    Layout resized(long rows, long columns) {
        return new Layout(type, new long[] {rows, columns}, strides);
    }

    /** The same as a batch of one. */
    Layout batched() {
        return new Layout(type, before(1, sizes), isPacked() ? strides
                : before(Math.max(sizes[0] * strides[0], sizes[1] * strides[1]), strides));
    }

    boolean isPacked() {
        return strides.length == 0;
    }

    int type() {
        return type;
    }

    int rank() {
        return sizes.length;
    }

    long size(int axis) {
        return sizes[axis < 0 ? sizes.length + axis : axis];
    }

    /** Elements between neighbours along an axis of a layout that is not packed. */
    long stride(int axis) {
        return strides[axis];
    }

    long elements() {
        long elements = 1;
        for (long size : sizes) {
            elements *= size;
        }
        return elements;
    }

    Layout withType(int newType) {
        return new Layout(newType, sizes, strides);
    }

    dnnl_memory_desc descriptor(Handles owner) {
        return isPacked() ? OneDnn.anyLayout(owner, type, sizes) : OneDnn.strided(owner, type, sizes, strides);
    }

    private static long[] before(long first, long[] axes) {
        return LongStream.concat(LongStream.of(first), LongStream.of(axes)).toArray();
    }

    private static long[] swapped(long[] axes) {
        long[] copy = axes.clone();
        copy[copy.length - 1] = axes[axes.length - 2];
        copy[copy.length - 2] = axes[axes.length - 1];
        return copy;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Layout that && hash == that.hash && type == that.type && Arrays.equals(sizes, that.sizes)
                && Arrays.equals(strides, that.strides);
    }

    @Override
    public int hashCode() {
        return hash;
    }

    @Override
    public String toString() {
        return "type " + type + " " + Arrays.toString(sizes) + (isPacked() ? " packed" : " strides " + Arrays.toString(strides));
    }
}
