package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** Owns pieces of a device's memory. */
final class CudaScope implements Scope {
    private final DeviceMemory memory;
    private final Set<CudaBuffer> buffers = new LinkedHashSet<>();
    private final List<CudaScope> besides = new ArrayList<>();
    private boolean closed;

    CudaScope(DeviceMemory memory) {
        this.memory = memory;
    }

    @Override
    public synchronized Buffer buffer(DataType type, long elements) {
        requireOpen();
        CudaBuffer buffer = new CudaBuffer(type, elements, memory);
        buffers.add(buffer);
        return buffer;
    }

    @Override
    public synchronized void keepOnly(Collection<View> views) {
        Set<CudaBuffer> rest = new LinkedHashSet<>(buffers);
        views.forEach(view -> rest.remove(view.buffer()));
        rest.forEach(CudaBuffer::release);
        buffers.removeAll(rest);
    }

    /** A scope on another device that is closed with this one. */
    synchronized CudaScope beside(DeviceMemory other) {
        requireOpen();
        CudaScope scope = new CudaScope(other);
        besides.add(scope);
        return scope;
    }

    /** Throws if the scope is closed, and with it what it owns. */
    synchronized void requireOpen() {
        if (closed) {
            throw new BackendException("A scope, or weights that it owns, was used after it was closed");
        }
    }

    @Override
    public synchronized void close() {
        closed = true;
        buffers.forEach(CudaBuffer::release);
        buffers.clear();
        besides.forEach(CudaScope::close);
    }
}
