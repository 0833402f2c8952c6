package io.github.ptq4vit.tensor;

/**
 * Where and how one tensor lies in a safetensors file.
 *
 * @param name the tensor's name
 * @param dtype type of its elements
 * @param shape sizes, outermost first
 * @param begin offset of its first byte from the start of the file
 * @param end offset after its last byte
 */
public record TensorInfo(String name, DType dtype, Shape shape, long begin, long end) {

    /** Length in bytes. */
    public long bytes() {
        return end - begin;
    }
}
