package io.github.ptq4vit.backend.cpu;

import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import org.bytedeco.javacpp.BytePointer;

/** Native memory that grows and is never shared; collected with its owner. */
final class Scratch {
    private static final int LINE = 64;

    private BytePointer memory;
    private long bytes;
    private FloatBuffer floats;

    /** Grows to at least so many bytes, with undefined contents if it had less. */
    Scratch atLeast(long needed) {
        if (needed > bytes || memory == null) {
            if (memory != null) {
                memory.close();
            }
            memory = new BytePointer(needed + LINE);
            bytes = needed;
            floats = null;
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
            floats = CpuBuffer.at(address(), Math.toIntExact(bytes)).order(ByteOrder.nativeOrder()).asFloatBuffer();
        }
        return floats;
    }
}
