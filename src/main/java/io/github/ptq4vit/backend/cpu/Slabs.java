package io.github.ptq4vit.backend.cpu;

/**
 * Small pieces of memory, cut from a few large ones. Thousands of pieces of many sizes would stay scattered over the C heap
 * long after they were freed; the large ones serve the next layer.
 */
final class Slabs {
    private static final long SLAB_BYTES = 4L << 20;
    private static final long LARGEST_PIECE = SLAB_BYTES / 4;
    private static final long LINE = 64;

    private final CpuScope owner;
    private long next;
    private long end;

    /** @param owner of all pieces */
    Slabs(CpuScope owner) {
        this.owner = owner;
    }

    /** Address of so many bytes, aligned to a cache line; freed with the owner. */
    synchronized long allocate(long bytes) {
        long size = (bytes + LINE - 1) / LINE * LINE;
        if (size > LARGEST_PIECE) {
            return owner.bytes(size).address();
        }
        if (next + size > end) {
            next = owner.bytes(SLAB_BYTES).address();
            end = next + SLAB_BYTES;
        }
        long address = next;
        next += size;
        return address;
    }
}
