package io.github.ptq4vit.backend.cpu;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.ToIntFunction;
import org.bytedeco.javacpp.Pointer;

/** Native objects that are destroyed together, the last made first. Not safe for use by several threads. */
final class Handles implements AutoCloseable {
    private final Deque<Runnable> destroyers = new ArrayDeque<>();

    /** Takes an object over; returns it. */
    <H extends Pointer> H own(H handle, ToIntFunction<H> destroy) {
        destroyers.push(() -> OneDnn.check(destroy.applyAsInt(handle), "destruction"));
        return handle;
    }

    /** Takes Java's owner of native memory over; returns it. */
    <H extends AutoCloseable> H own(H closeable, Runnable close) {
        destroyers.push(close);
        return closeable;
    }

    /** Destroys all of them; calling it again does nothing. */
    @Override
    public void close() {
        while (!destroyers.isEmpty()) {
            destroyers.pop().run();
        }
    }
}
