package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.Pointer;

/**
 * Native memory, aligned to cache lines. Freed pieces are kept for the next request of the same size: a calibration asks
 * for the same sizes block after block, and fresh pages cost more than the work done on them.
 */
final class NativeHeap implements AutoCloseable {
    private static final int ALIGNMENT = 64;
    /** Bytes that may lie idle; beyond that they go back before more is taken. */
    private static final long MOST_KEPT = 32L << 20;

    private final Map<Long, Deque<Long>> free = new HashMap<>();
    private final Map<Long, Long> starts = new HashMap<>();
    /** Bytes in {@link #free}. */
    private long kept;
    private boolean closed;

    /** Address of at least so many bytes, undefined contents. */
    synchronized long allocate(long bytes) {
        if (closed) {
            throw new BackendException("The CPU backend is closed");
        }
        long size = rounded(bytes);
        Deque<Long> pieces = free.get(size);
        if (pieces != null && !pieces.isEmpty()) {
            kept -= size;
            return pieces.pop();
        }
        if (kept > MOST_KEPT) {
            trim();
        }
        Pointer start = Pointer.malloc(size + ALIGNMENT);
        if (start == null || start.isNull()) {
            throw new BackendException("Out of memory: " + (size >> 20) + " MiB more are needed; use fewer calibration"
                    + " images (--count) or a machine with more memory");
        }
        long aligned = (start.address() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        starts.put(aligned, start.address());
        return aligned;
    }

    /** Takes back what {@link #allocate} gave for that many bytes. */
    synchronized void release(long address, long bytes) {
        if (closed) {
            return;
        }
        long size = rounded(bytes);
        free.computeIfAbsent(size, s -> new ArrayDeque<>()).push(address);
        kept += size;
    }

    /** Gives all kept pieces back to the system. */
    synchronized void trim() {
        for (Deque<Long> pieces : free.values()) {
            for (long address : pieces) {
                Pointer.free(new Address(starts.remove(address)));
            }
        }
        free.clear();
        kept = 0;
    }

    @Override
    public synchronized void close() {
        trim();
        closed = true;
    }

    private static long rounded(long bytes) {
        return (Math.max(bytes, 1) + 4095) / 4096 * 4096;
    }
}
