package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.nio.FloatBuffer;
import org.bytedeco.javacpp.Pointer;

/** Native memory that grows and is never shared. */
final class Scratch implements AutoCloseable {
    private static final int LINE = 64;

    private Pointer memory = new Address(0);
    private long bytes = -1;
    private FloatBuffer floats;

    /** Grows to at least so many bytes, with undefined contents if it had less. */
    Scratch atLeast(long needed) {
        if (needed > bytes) {
            close();
            memory = Pointer.malloc(needed + LINE);
            if (memory == null || memory.isNull()) {
                memory = new Address(0);
                throw new BackendException("Out of memory: " + (needed >> 20) + " MiB more are needed for one operation; use fewer"
                        + " threads (--threads) or a machine with more memory");
            }
            bytes = needed;
        }
        return this;
    }

    /** Aligned to a cache line. */
    long address() {
        return (memory.address() + LINE - 1) / LINE * LINE;
    }

    /** The memory as Java sees it, until it grows. */
    FloatBuffer floats() {
        if (floats == null) {
            floats = CpuBuffer.at(address(), Math.toIntExact(bytes)).asFloatBuffer();
        }
        return floats;
    }

    /** Frees it; calling it again does nothing. */
    @Override
    public void close() {
        if (bytes >= 0) {
            Pointer.free(memory);
            bytes = -1;
            floats = null;
        }
    }
}
