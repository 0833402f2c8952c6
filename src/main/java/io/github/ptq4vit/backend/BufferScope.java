package io.github.ptq4vit.backend;

import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * A scope that keeps a list of its buffers; backends say how one is made and freed.
 *
 * @param <B> the backend's buffers
 */
public abstract class BufferScope<B extends Buffer> implements Scope {
    private final Set<B> buffers = new LinkedHashSet<>();
    private boolean closed;

    /** Makes a buffer with undefined contents. */
    protected abstract B make(DataType type, long elements);

    /** Frees buffers; never called twice with the same one. */
    protected abstract void free(Collection<B> some);

    @Override
    public final synchronized B buffer(DataType type, long elements) {
        requireOpen();
        B buffer = make(type, elements);
        buffers.add(buffer);
        return buffer;
    }

    /** Frees one of the scope's buffers before the others. */
    public final synchronized void release(B buffer) {
        if (buffers.remove(buffer)) {
            free(List.of(buffer));
        }
    }

    @Override
    public final synchronized void keepOnly(Collection<View> views) {
        Set<B> rest = new LinkedHashSet<>(buffers);
        views.forEach(view -> rest.remove(view.buffer()));
        rest.forEach(buffers::remove);
        free(rest);
    }

    /** Throws if the scope is closed, and with it what it owns. */
    public final synchronized void requireOpen() {
        if (closed) {
            throw new BackendException("A scope, or weights that it owns, was used after it was closed");
        }
    }

    @Override
    public synchronized void close() {
        closed = true;
        List<B> all = List.copyOf(buffers);
        buffers.clear();
        free(all);
    }
}
