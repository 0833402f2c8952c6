package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * Type, sizes and strides of an array, equal by value: what a primitive is compiled for.
 *
 * @param type oneDNN's number of the type
 * @param sizes outermost first
 * @param strides in elements; empty leaves the layout to oneDNN
 */
record Layout(int type, List<Long> sizes, List<Long> strides) {

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
        return new Layout(type, IntStream.of(view.sizes()).asLongStream().boxed().toList(),
                LongStream.of(strides).boxed().toList());
    }

    static Layout dense(int type, long... sizes) {
        Long[] strides = new Long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= sizes[i];
        }
        return new Layout(type, LongStream.of(sizes).boxed().toList(), List.of(strides));
    }

    /** The layout is oneDNN's choice. */
    static Layout packed(int type, long... sizes) {
        return new Layout(type, LongStream.of(sizes).boxed().toList(), List.of());
    }

    /** Exchanges the last two axes. */
    Layout transposed() {
        return new Layout(type, swapped(sizes), swapped(strides));
    }

    boolean isPacked() {
        return strides.isEmpty();
    }

    int rank() {
        return sizes.size();
    }

    long size(int axis) {
        return sizes.get(axis < 0 ? sizes.size() + axis : axis);
    }

    long elements() {
        return sizes.stream().reduce(1L, (a, b) -> a * b);
    }

    Layout withType(int newType) {
        return new Layout(newType, sizes, strides);
    }

    dnnl_memory_desc descriptor() {
        long[] dims = sizes.stream().mapToLong(Long::longValue).toArray();
        return isPacked() ? OneDnn.anyLayout(type, dims)
                : OneDnn.strided(type, dims, strides.stream().mapToLong(Long::longValue).toArray());
    }

    private static List<Long> swapped(List<Long> list) {
        java.util.ArrayList<Long> copy = new java.util.ArrayList<>(list);
        java.util.Collections.swap(copy, copy.size() - 1, copy.size() - 2);
        return List.copyOf(copy);
    }
}
