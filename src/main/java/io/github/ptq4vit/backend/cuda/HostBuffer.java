package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import jcuda.Pointer;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/** A piece of the host's memory, pinned: the device reads and writes it at full speed while it does something else. */
final class HostBuffer implements Buffer {
    private final DataType type;
    private final long elements;
    private final Pointer pointer = new Pointer();
    private boolean released;

    HostBuffer(DataType type, long elements, CudaDevice device) {
        this.type = type;
        this.elements = elements;
        device.enter();
        int result = JCudaDriver.cuMemAllocHost(pointer, Math.max(1, elements * type.bytes()));
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            throw new BackendException("Out of memory on the host: " + (elements * type.bytes() >> 20) + " MiB more of pinned"
                    + " memory are needed for what does not fit on " + device.words() + "; use fewer calibration images (--count)");
        }
        CudaErrors.check(result, "Asking the host for " + elements * type.bytes() + " bytes of pinned memory");
    }

    @Override
    public DataType type() {
        return type;
    }

    @Override
    public long elements() {
        return elements;
    }

    /** Frees the memory; nothing may be using it. */
    void release() {
        if (!released) {
            released = true;
            JCudaDriver.cuMemFreeHost(pointer);
        }
    }

    /** Copies between a dense view of the host and one of the device, in order with the stream. */
    static void copy(CudaDevice device, View from, View to) {
        if (from.elements() != to.elements() || from.buffer().type() != to.buffer().type()) {
            throw new IllegalArgumentException("Cannot copy " + from + " to " + to);
        }
        CudaBuffer.dense(from, from.buffer().type());
        CudaBuffer.dense(to, to.buffer().type());
        long bytes = from.elements() * from.buffer().type().bytes();
        if (from.buffer() instanceof HostBuffer host) {
            DevicePointer target = new DevicePointer(device.address(to));
            device.enter();
            device.checkWork(JCudaDriver.cuMemcpyHtoDAsync(target, host.at(from), bytes, device.stream()), "Copying to");
        } else {
            DevicePointer source = new DevicePointer(device.address(from));
            device.enter();
            device.checkWork(JCudaDriver.cuMemcpyDtoHAsync(((HostBuffer) to.buffer()).at(to), source, bytes, device.stream()),
                    "Copying from");
        }
    }

    private Pointer at(View view) {
        if (released) {
            throw new BackendException("A buffer was used after its scope was closed");
        }
        return pointer.withByteOffset(view.offset() * type.bytes());
    }
}
