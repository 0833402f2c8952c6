package io.github.ptq4vit.image;

import java.util.concurrent.Semaphore;

/**
 * Bounds the memory of images that are decoded at the same time by the heap: one that would take more than half of it alone is
 * refused, and threads wait where several would take too much together.
 */
final class DecodingMemory {
    private static final int UNIT = 1 << 20;
    private static final double SHARE_OF_ONE = 0.5;
    private static final double SHARE_OF_ALL = 0.75;
    private static final int RGB = 3;
    /** Weights of the widest filter for each pixel along a side. */
    private static final int RESIZING = 32;

    private final long heap;
    private final int total;
    private final Semaphore free;

    /**
     * Of a heap.
     *
     * @param heap in bytes
     * @param reserved bytes of it that others need
     */
    DecodingMemory(long heap, long reserved) {
        this.heap = heap;
        this.total = units(Math.max((long) (heap * SHARE_OF_ALL) - reserved, heap / 4));
        this.free = new Semaphore(total, true);
    }

    /** Of this process's heap without bounds on several at once: for one thread. */
    static DecodingMemory ofOneThread() {
        return new DecodingMemory(Runtime.getRuntime().maxMemory(), 0);
    }

    /**
     * Bytes that an image takes while it is decoded and resized.
     *
     * @param stored bytes of the file
     * @param bytesPerPixel of what the decoder gives
     */
    static long needed(long stored, int width, int height, int bytesPerPixel) {
        long pixels = (long) width * height;
        // three bytes a pixel become RGB in place
        return stored + pixels * (bytesPerPixel == RGB ? RGB : bytesPerPixel + RGB) + (long) RESIZING * Math.max(width, height);
    }

    /** Waits until an image of so many bytes fits; throws ImageException if it never will. */
    Held hold(String name, long bytes) {
        if (bytes > heap * SHARE_OF_ONE) {
            throw new ImageException("The image " + name + " takes " + bytes / UNIT + " MB to decode, more than half of the " + heap / UNIT
                    + " MB that Java may use; make it smaller, or give Java more, for example PTQ4VIT_JAVA_OPTS=-Xmx4g");
        }
        int units = Math.min(units(bytes), total);
        try {
            free.acquire(units);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ImageException("The image " + name + " was not decoded: interrupted", e);
        }
        return () -> free.release(units);
    }

    private static int units(long bytes) {
        return (int) Math.min(Integer.MAX_VALUE, bytes / UNIT + 1);
    }

    /** Memory in use. */
    @FunctionalInterface
    interface Held extends AutoCloseable {
        @Override
        void close();
    }
}
