package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BufferScope;
import io.github.ptq4vit.backend.DataType;
import java.util.Collection;
import jcuda.driver.JCudaDriver;

/** Owns pieces of the host's memory that a device copies from and to. */
final class HostScope extends BufferScope<HostBuffer> {
    private final CudaDevice device;

    HostScope(CudaDevice device) {
        this.device = device;
    }

    @Override
    protected HostBuffer make(DataType type, long elements) {
        return new HostBuffer(type, elements, device);
    }

    /** Copies may still be waiting. */
    @Override
    protected void free(Collection<HostBuffer> some) {
        if (!some.isEmpty() && device.tryEnter()) {
            JCudaDriver.cuStreamSynchronize(device.stream());
        }
        some.forEach(HostBuffer::release);
    }
}
