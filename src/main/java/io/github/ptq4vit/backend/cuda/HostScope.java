package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import jcuda.driver.JCudaDriver;

/** Owns pieces of the host's memory that a device copies from and to. */
final class HostScope implements Scope {
    private final CudaDevice device;
    private final List<HostBuffer> buffers = new ArrayList<>();
    private boolean closed;

    HostScope(CudaDevice device) {
        this.device = device;
    }

    @Override
    public synchronized Buffer buffer(DataType type, long elements) {
        if (closed) {
            throw new BackendException("A scope was used after it was closed");
        }
        HostBuffer buffer = new HostBuffer(type, elements, device);
        buffers.add(buffer);
        return buffer;
    }

    @Override
    public synchronized void keepOnly(Collection<View> views) {
        List<HostBuffer> rest = new ArrayList<>(buffers);
        views.forEach(view -> rest.remove(view.buffer()));
        release(rest);
    }

    @Override
    public synchronized void close() {
        closed = true;
        release(List.copyOf(buffers));
    }

    /** Copies may still be waiting. */
    private void release(List<HostBuffer> some) {
        if (!some.isEmpty() && device.tryEnter()) {
            JCudaDriver.cuStreamSynchronize(device.stream());
        }
        some.forEach(HostBuffer::release);
        buffers.removeAll(some);
    }
}
