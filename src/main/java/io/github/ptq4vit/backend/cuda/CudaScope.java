package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Scope;
import java.util.ArrayList;
import java.util.List;

/** Owns pieces of a device's memory. */
final class CudaScope implements Scope {
    private final DeviceMemory memory;
    private final List<CudaBuffer> buffers = new ArrayList<>();
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
    }
}
