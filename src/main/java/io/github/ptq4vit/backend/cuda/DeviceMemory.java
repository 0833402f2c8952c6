package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * The memory of a device. Pieces that are given back are kept for the next request of the same size class: asking the driver
 * costs more than most kernels, and calibration asks for the same sizes block after block. All work runs on one stream, so a
 * piece can be handed out again while the kernels that used it are still waiting: the next ones come after them.
 *
 * <p>When the driver has no more, all idle pieces go back to it before giving up.
 */
final class DeviceMemory implements AutoCloseable {
    private static final long SMALLEST = 512;
    private static final long LARGEST_STEP = 2L << 20;

    private final CudaDevice device;
    private final boolean caching;
    private final Map<Long, Deque<Piece>> idle = new HashMap<>();
    private long idleBytes;
    private long liveBytes;
    private long peakBytes;
    private boolean closed;

    /** Memory of at least the size that was asked for. */
    record Piece(DevicePointer pointer, long bytes) {
        long address() {
            return pointer.address();
        }
    }

    /** @param caching false asks the driver each time, for exactly what is needed: tools that check accesses see more */
    DeviceMemory(CudaDevice device, boolean caching) {
        this.device = device;
        this.caching = caching;
    }

    /** At least so many bytes, aligned for every kernel, with undefined contents. */
    synchronized Piece take(long bytes) {
        if (closed) {
            throw new BackendException("The CUDA backend is closed");
        }
        long size = caching ? sizeClass(bytes) : Math.max(1, bytes);
        Deque<Piece> pieces = idle.get(size);
        Piece piece = pieces == null ? null : pieces.poll();
        if (piece == null) {
            piece = new Piece(allocate(size), size);
        } else {
            idleBytes -= size;
        }
        liveBytes += size;
        peakBytes = Math.max(peakBytes, liveBytes);
        return piece;
    }

    /** Takes a piece back; kernels that use it may still be waiting. */
    synchronized void give(Piece piece) {
        if (closed) {
            return;
        }
        liveBytes -= piece.bytes;
        if (caching) {
            idle.computeIfAbsent(piece.bytes, size -> new ArrayDeque<>()).push(piece);
            idleBytes += piece.bytes;
        } else {
            free(List.of(piece));
        }
    }

    /** Bytes handed out at the moment. */
    synchronized long liveBytes() {
        return liveBytes;
    }

    /** Most bytes that were handed out at a time since {@link #restartPeak}. */
    synchronized long peakBytes() {
        return peakBytes;
    }

    /** Measures the peak anew. */
    synchronized void restartPeak() {
        peakBytes = liveBytes;
    }

    /**
     * Bytes that may still be handed out if this program has three quarters of the device's memory, whatever others have: the
     * same on every run. The rest is for rounding, for pieces of other sizes, for cuBLAS and for a display.
     */
    synchronized long plannedBytes() {
        return Math.max(0, device.totalBytes() / 4 * 3 - liveBytes);
    }

    /** Gives idle pieces back to the driver. */
    synchronized void trim() {
        List<Piece> pieces = new ArrayList<>();
        idle.values().forEach(pieces::addAll);
        idle.clear();
        idleBytes = 0;
        free(pieces);
    }

    /** Kernels that use the pieces may still be waiting. */
    private void free(List<Piece> pieces) {
        if (device.tryEnter()) {
            JCudaDriver.cuStreamSynchronize(device.stream());
            pieces.forEach(piece -> JCudaDriver.cuMemFree(piece.pointer));
        }
    }

    private DevicePointer allocate(long bytes) {
        device.enter();
        DevicePointer pointer = new DevicePointer();
        int result = JCudaDriver.cuMemAlloc(pointer, bytes);
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY && idleBytes > 0) {
            trim();
            result = JCudaDriver.cuMemAlloc(pointer, bytes);
        }
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            throw new BackendException("Out of memory on " + device.words() + ": " + size(bytes) + " more are needed, "
                    + size(liveBytes) + " are in use here and " + size(device.freeBytes()) + " of " + size(device.totalBytes())
                    + " are free; use fewer calibration images (--count), end other programs on this device, or take a larger"
                    + " device or --backend cpu");
        }
        CudaErrors.check(result, "Asking " + device.words() + " for " + size(bytes) + " of memory");
        return pointer;
    }

    /** The request rounded up by at most an eighth, so that similar requests share pieces; large ones by at most 2 MiB. */
    static long sizeClass(long bytes) {
        long step = Math.max(SMALLEST, Math.min(LARGEST_STEP, Long.highestOneBit(Math.max(1, bytes)) / 8));
        return Math.max(1, (bytes + step - 1) / step) * step;
    }

    private static String size(long bytes) {
        return bytes < 10L << 20 ? (bytes + 1023) / 1024 + " KiB"
                : bytes < 10L << 30 ? (bytes >> 20) + " MiB" : String.format(Locale.ROOT, "%.1f GiB", bytes / 0x1p30);
    }

    /** Gives everything idle back; pieces still handed out go with the context. */
    @Override
    public synchronized void close() {
        if (!closed) {
            trim();
            closed = true;
        }
    }
}
