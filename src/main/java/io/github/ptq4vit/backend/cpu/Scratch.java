package io.github.ptq4vit.backend.cpu;

import org.bytedeco.javacpp.BytePointer;

/** Native memory that grows and is never shared; collected with its owner. */
final class Scratch {
    private BytePointer memory;
    private long bytes;

    /** Address, aligned to a cache line, of at least so many bytes with undefined contents. */
    long atLeast(long needed) {
        if (needed > bytes || memory == null) {
            if (memory != null) {
                memory.close();
            }
            memory = new BytePointer(needed + 64);
            bytes = needed;
        }
        return (memory.address() + 63) / 64 * 64;
    }
}
