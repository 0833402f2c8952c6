package io.github.ptq4vit.backend;

import java.util.Collection;

/** Owns buffers and prepared weights; closing it frees them all. Not to be shared between threads while it grows. */
public interface Scope extends AutoCloseable {

    /** New memory with undefined contents. */
    Buffer buffer(DataType type, long elements);

    /** A new dense float32 array with undefined contents. */
    default View floats(int... sizes) {
        return View.dense(sizes, d -> buffer(DataType.FLOAT32, d));
    }

    /** Frees what was handed out so far but for the memory of these views; views on other scopes' memory have no effect. */
    void keepOnly(Collection<View> views);

    /** Frees everything handed out; calling it again does nothing. */
    @Override
    void close();
}
