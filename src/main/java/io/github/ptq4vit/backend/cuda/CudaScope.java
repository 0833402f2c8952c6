package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BufferScope;
import io.github.ptq4vit.backend.DataType;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/** Owns pieces of a device's memory. */
final class CudaScope extends BufferScope<CudaBuffer> {
    private final DeviceMemory memory;
    private final List<CudaScope> besides = new ArrayList<>();

    CudaScope(DeviceMemory memory) {
        this.memory = memory;
    }

    /** A scope on another device that is closed with this one. */
    synchronized CudaScope beside(DeviceMemory other) {
        requireOpen();
        CudaScope scope = new CudaScope(other);
        besides.add(scope);
        return scope;
    }

    @Override
    protected CudaBuffer make(DataType type, long elements) {
        return new CudaBuffer(type, elements, memory);
    }

    @Override
    protected void free(Collection<CudaBuffer> some) {
        some.forEach(CudaBuffer::release);
    }

    @Override
    public synchronized void close() {
        super.close();
        besides.forEach(CudaScope::close);
    }
}
