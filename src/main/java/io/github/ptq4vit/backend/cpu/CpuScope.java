package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BufferScope;
import io.github.ptq4vit.backend.DataType;
import java.util.Collection;

/** Owns pieces of the native heap. */
final class CpuScope extends BufferScope<CpuBuffer> {
    private final NativeHeap heap;

    CpuScope(NativeHeap heap) {
        this.heap = heap;
    }

    /** Memory without a type. */
    CpuBuffer bytes(long bytes) {
        return buffer(DataType.INT8, bytes);
    }

    @Override
    protected CpuBuffer make(DataType type, long elements) {
        return new CpuBuffer(type, elements, heap.allocate(elements * type.bytes()));
    }

    @Override
    protected void free(Collection<CpuBuffer> some) {
        some.forEach(buffer -> heap.release(buffer.invalidate(), buffer.bytes()));
    }
}
