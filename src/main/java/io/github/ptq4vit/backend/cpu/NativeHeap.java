package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.Pointer;

/**
 * Native memory, aligned to cache lines. Freed pieces are kept for the next request of the same size: a calibration asks
 * for the same sizes block after block, and fresh pages cost more than the work done on them. Kept pieces never make the
 * whole larger than what was in use at the busiest moment: before it would become so, some go back to the system.
 */
final class NativeHeap implements AutoCloseable {
    private static final int ALIGNMENT = 64;

    /** Kept pieces by size. */
    private final TreeMap<Long, Deque<Long>> free = new TreeMap<>();
    private final Map<Long, Long> starts = new HashMap<>();
    /** Bytes in {@link #free}. */
    private long kept;
    /** Bytes handed out, now and at most so far. */
    private long used;
    private long mostUsed;
    private boolean closed;

    /** Address of at least so many bytes, undefined contents. */
    synchronized long allocate(long bytes) {
        if (closed) {
            throw new BackendException("The CPU backend is closed");
        }
        long size = rounded(bytes);
        used += size;
        mostUsed = Math.max(mostUsed, used);
        if (free.containsKey(size)) {
            return pop(size);
        }
        trim(mostUsed - used);
        Pointer start = Pointer.malloc(size + ALIGNMENT);
        if (start == null || start.isNull()) {
            used -= size;
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
            Pointer.free(new Address(starts.remove(address)));
            return;
        }
        long size = rounded(bytes);
        free.computeIfAbsent(size, s -> new ArrayDeque<>()).push(address);
        kept += size;
        used -= size;
    }

    /** Gives kept pieces back to the system, large ones first, until no more than so many bytes are kept. */
    synchronized void trim(long most) {
        while (kept > most) {
            Pointer.free(new Address(starts.remove(pop(free.lastKey()))));
        }
    }

    /** Pieces that the system has given and not got back. */
    synchronized int pieces() {
        return starts.size();
    }

    /** Bytes that lie idle. */
    synchronized long keptBytes() {
        return kept;
    }

    private long pop(long size) {
        Deque<Long> pieces = free.get(size);
        long address = pieces.pop();
        if (pieces.isEmpty()) {
            free.remove(size);
        }
        kept -= size;
        return address;
    }

    /** Gives back what is kept, and from then on every piece as it is released. */
    @Override
    public synchronized void close() {
        trim(0);
        closed = true;
    }

    private static long rounded(long bytes) {
        return (Math.max(bytes, 1) + 4095) / 4096 * 4096;
    }
}
