package io.github.ptq4vit.backend;

/** Type of the elements of a {@link Buffer}. */
public enum DataType {
    /** IEEE float32. */
    FLOAT32(4),
    /** Signed 8-bit codes. */
    INT8(1);

    private final int bytes;

    DataType(int bytes) {
        this.bytes = bytes;
    }

    /** Size of one element in bytes. */
    public int bytes() {
        return bytes;
    }
}
