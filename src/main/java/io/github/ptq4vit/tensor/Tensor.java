package io.github.ptq4vit.tensor;

import java.nio.FloatBuffer;

/**
 * An array of float32 on the host, row-major. The memory is a {@link FloatBuffer} from its position 0 to its limit: a
 * heap array, native memory or a mapped part of a file. At most 2^31 - 1 elements.
 *
 * @param shape sizes, outermost first
 * @param data exactly {@code shape.elements()} numbers
 */
public record Tensor(Shape shape, FloatBuffer data) {

    public Tensor {
        if (data.limit() != shape.elements() || data.position() != 0) {
            throw new IllegalArgumentException("Shape " + shape + " needs " + shape.elements()
                    + " numbers, the buffer holds " + data.remaining());
        }
    }

    /** Wraps an array without copying it. */
    public static Tensor of(Shape shape, float... data) {
        return new Tensor(shape, FloatBuffer.wrap(data));
    }

    /** A tensor of zeros on the heap. */
    public static Tensor zeros(int... sizes) {
        Shape shape = Shape.of(sizes);
        return of(shape, new float[Math.toIntExact(shape.elements())]);
    }

    /** The numbers as a new array. */
    public float[] toArray() {
        float[] copy = new float[data.limit()];
        data.get(0, copy);
        return copy;
    }

    /** The same memory under another shape with as many elements. */
    public Tensor reshape(int... sizes) {
        return new Tensor(Shape.of(sizes), data);
    }

    /** The entries {@code from} (inclusive) to {@code to} (exclusive) of the outermost axis, sharing the memory. */
    public Tensor slice(int from, int to) {
        int[] sizes = shape.toArray();
        int stride = Math.toIntExact(sizes[0] == 0 ? 0 : shape.elements() / sizes[0]);
        sizes[0] = to - from;
        return new Tensor(Shape.of(sizes), data.slice(from * stride, (to - from) * stride));
    }
}
