package io.github.ptq4vit.backend.cuda;

/** The kernels of {@code cuda-kernels/}: each constant is an entry of the PTX. */
enum Kernel {
    /** y[i] = value. */
    FILL_F32("fill_f32", 3, 256);

    private final String entry;
    private final int parameters;
    private final int blockSize;

    Kernel(String entry, int parameters, int blockSize) {
        this.entry = entry;
        this.parameters = parameters;
        this.blockSize = blockSize;
    }

    /** Name in the PTX. */
    String entry() {
        return entry;
    }

    /** How many parameters a launch passes. */
    int parameters() {
        return parameters;
    }

    /** Threads of a block that the kernel is written for. */
    int blockSize() {
        return blockSize;
    }
}
