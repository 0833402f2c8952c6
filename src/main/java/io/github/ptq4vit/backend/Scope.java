package io.github.ptq4vit.backend;

/** Owns buffers and prepared weights; closing it frees them all. Not to be shared between threads while it grows. */
public interface Scope extends AutoCloseable {

    /** New memory with undefined contents. */
    Buffer buffer(DataType type, long elements);

    /** A new dense float32 array with undefined contents. */
    default View floats(int... sizes) {
        return View.dense(sizes, d -> buffer(DataType.FLOAT32, d));
    }

    /** Frees everything handed out; calling it again does nothing. */
    @Override
    void close();
}
