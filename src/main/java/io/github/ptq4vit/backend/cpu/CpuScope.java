package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.Collection;
import java.util.HashSet;
import java.util.Set;

/** Owns pieces of the native heap. */
final class CpuScope implements Scope {
    private final NativeHeap heap;
    private final Set<CpuBuffer> buffers = new HashSet<>();
    private boolean closed;

    CpuScope(NativeHeap heap) {
        this.heap = heap;
    }

    @Override
    public synchronized Buffer buffer(DataType type, long elements) {
        requireOpen();
        CpuBuffer buffer = new CpuBuffer(type, elements, heap.allocate(elements * type.bytes()));
        buffers.add(buffer);
        return buffer;
    }

    /** Memory without a type. */
    CpuBuffer bytes(long bytes) {
        return (CpuBuffer) buffer(DataType.INT8, bytes);
    }

    /** Frees one of the scope's buffers before the others. */
    synchronized void release(CpuBuffer buffer) {
        if (buffers.remove(buffer)) {
            heap.release(buffer.invalidate(), buffer.bytes());
        }
    }

    @Override
    public synchronized void keepOnly(Collection<View> views) {
        Set<CpuBuffer> rest = new HashSet<>(buffers);
        views.forEach(view -> rest.remove(view.buffer()));
        rest.forEach(this::release);
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
        for (CpuBuffer buffer : buffers) {
            heap.release(buffer.invalidate(), buffer.bytes());
        }
        buffers.clear();
    }
}
