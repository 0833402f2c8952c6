package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.ArrayList;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * An array in the host's memory, pinned: the device reads and writes it at full speed while it does something else. It consists
 * of pieces, because JCuda puts a direct buffer around each, which ends below 2 GiB.
 */
final class HostBuffer implements Buffer {
    /** 1 GiB. */
    private static final long LARGEST_PIECE = 1L << 30;

    private final DataType type;
    private final long elements;
    private final long pieceBytes;
    private final List<Pointer> pieces = new ArrayList<>();
    private boolean released;

    HostBuffer(DataType type, long elements, CudaDevice device) {
        this(type, elements, device, LARGEST_PIECE);
    }

    /** Of pieces of so many bytes. */
    HostBuffer(DataType type, long elements, CudaDevice device, long pieceBytes) {
        this.type = type;
        this.elements = elements;
        this.pieceBytes = pieceBytes;
        device.enter();
        long bytes = Math.max(1, elements * type.bytes());
        try {
            for (long start = 0; start < bytes; start += pieceBytes) {
                pieces.add(allocate(Math.min(pieceBytes, bytes - start), device));
            }
        } catch (BackendException e) {
            release();
            throw e;
        }
    }

    private Pointer allocate(long bytes, CudaDevice device) {
        Pointer piece = new Pointer();
        int result = JCudaDriver.cuMemAllocHost(piece, bytes);
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            throw new BackendException("Out of memory on the host: " + (elements * type.bytes() >> 20) + " MiB more of pinned"
                    + " memory are needed for what does not fit on " + device.words() + "; use fewer calibration images (--count)");
        }
        CudaErrors.check(result, "Asking the host for " + bytes + " bytes of pinned memory");
        return piece;
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
            pieces.forEach(JCudaDriver::cuMemFreeHost);
        }
    }

    /** Copies between a dense view of the host and one of the device, in order with the stream. */
    static void copy(CudaDevice device, View from, View to) {
        if (from.elements() != to.elements() || from.buffer().type() != to.buffer().type()) {
            throw new IllegalArgumentException("Cannot copy " + from + " to " + to);
        }
        CudaBuffer.dense(from, from.buffer().type());
        CudaBuffer.dense(to, to.buffer().type());
        device.enter();
        if (from.buffer() instanceof HostBuffer host) {
            host.eachPiece(from, device.address(to), (address, piece, bytes) -> device.checkWork(
                    JCudaDriver.cuMemcpyHtoDAsync(new DevicePointer(address), piece, bytes, device.stream()), "Copying to"));
        } else {
            ((HostBuffer) to.buffer()).eachPiece(to, device.address(from), (address, piece, bytes) -> device.checkWork(
                    JCudaDriver.cuMemcpyDtoHAsync(piece, new DevicePointer(address), bytes, device.stream()), "Copying from"));
        }
    }

    /** A part of a copy that lies in one piece. */
    @FunctionalInterface
    private interface Part {
        void copy(long address, Pointer piece, long bytes);
    }

    private void eachPiece(View view, long address, Part part) {
        if (released) {
            throw new BackendException("A buffer was used after its scope was closed");
        }
        long first = view.offset() * type.bytes();
        long bytes = view.elements() * type.bytes();
        for (long done = 0; done < bytes;) {
            long within = (first + done) % pieceBytes;
            long count = Math.min(bytes - done, pieceBytes - within);
            part.copy(address + done, pieces.get((int) ((first + done) / pieceBytes)).withByteOffset(within), count);
            done += count;
        }
    }
}
