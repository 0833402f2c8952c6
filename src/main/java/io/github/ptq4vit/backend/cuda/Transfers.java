package io.github.ptq4vit.backend.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.stream.Stream;
import jcuda.Pointer;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/**
 * Copies between host and device in order with the stream, through two pieces of pinned memory: while the device copies one,
 * the host fills or empties the other. Small uploads, tables for kernels, lie one behind the other in a ring of smaller pieces, and wait
 * only where the device is a whole ring behind: the host may be many layers ahead of it. An upload returns when the host's memory
 * has been read, a download when it has been written.
 */
final class Transfers implements AutoCloseable {
    private static final int PIECE = 4 << 20;
    /** Of the ring, and what is small. */
    private static final int RING_PIECE = 256 << 10;
    private static final int SMALL = RING_PIECE / 4;
    private static final int RING_PIECES = 8;
    /** So that everything in the ring is aligned for whatever type. */
    private static final int ALIGNMENT = 16;

    private final CudaDevice device;
    private final Slot[] slots = {new Slot(PIECE), new Slot(PIECE)};
    private final Slot[] ring = Stream.generate(() -> new Slot(RING_PIECE)).limit(RING_PIECES).toArray(Slot[]::new);
    private int next;
    private int nextOfRing;
    private int usedOfRing;

    /** A part of the host's memory. */
    interface Window {
        /** Copies the bytes {@code [from, from + piece.remaining())} of the host's memory to the piece, or the other way round. */
        void copy(long from, ByteBuffer piece);
    }

    Transfers(CudaDevice device) {
        this.device = device;
    }

    /** Copies to the device. */
    synchronized void upload(Window from, long to, long bytes) {
        device.enter();
        if (bytes > 0 && bytes <= SMALL) {
            uploadSmall(from, to, (int) bytes);
            return;
        }
        for (long done = 0; done < bytes; done += PIECE) {
            int size = (int) Math.min(PIECE, bytes - done);
            Slot slot = slots[next];
            next = 1 - next;
            slot.waitUntilFree();
            from.copy(done, slot.bytes(0, size));
            device.checkWork(JCudaDriver.cuMemcpyHtoDAsync(new DevicePointer(to + done), slot.pointer, size, device.stream()),
                    "Copying to");
            slot.busy();
        }
    }

    private void uploadSmall(Window from, long to, int bytes) {
        if (usedOfRing + bytes > RING_PIECE) {
            ring[nextOfRing].busy();
            nextOfRing = (nextOfRing + 1) % RING_PIECES;
            usedOfRing = 0;
        }
        Slot slot = ring[nextOfRing];
        if (usedOfRing == 0) {
            slot.waitUntilFree();
        }
        from.copy(0, slot.bytes(usedOfRing, bytes));
        device.checkWork(JCudaDriver.cuMemcpyHtoDAsync(new DevicePointer(to), slot.pointer.withByteOffset(usedOfRing), bytes,
                device.stream()), "Copying to");
        usedOfRing += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** Copies from the device. */
    synchronized void download(long from, Window to, long bytes) {
        device.enter();
        long pieces = (bytes + PIECE - 1) / PIECE;
        for (long piece = 0; piece <= pieces; piece++) {
            if (piece < pieces) {
                long start = piece * PIECE;
                Slot slot = slots[(int) (piece & 1)];
                slot.waitUntilFree();
                device.checkWork(JCudaDriver.cuMemcpyDtoHAsync(slot.pointer, new DevicePointer(from + start),
                        Math.min(PIECE, bytes - start), device.stream()), "Copying from");
                slot.busy();
            }
            if (piece > 0) {
                long start = (piece - 1) * PIECE;
                Slot slot = slots[(int) (piece - 1 & 1)];
                slot.waitUntilFree();
                to.copy(start, slot.bytes(0, (int) Math.min(PIECE, bytes - start)));
            }
        }
    }

    @Override
    public synchronized void close() {
        Stream.of(slots, ring).flatMap(Stream::of).forEach(Slot::close);
    }

    /** A piece of pinned memory and when the device is done with it; both made at first use. */
    private final class Slot {
        private final Pointer pointer = new Pointer();
        private final CUevent done = new CUevent();
        private final int size;
        private ByteBuffer memory;

        Slot(int size) {
            this.size = size;
        }

        void waitUntilFree() {
            if (memory == null) {
                CudaErrors.check(JCudaDriver.cuEventCreate(done, CUevent_flags.CU_EVENT_DISABLE_TIMING), "Creating an event on "
                        + device.words());
                int result = JCudaDriver.cuMemAllocHost(pointer, size);
                if (result != 0) {
                    JCudaDriver.cuEventDestroy(done);
                }
                CudaErrors.check(result, "Asking for " + (size >> 10) + " KiB of pinned host memory");
                memory = pointer.getByteBuffer(0, size).order(ByteOrder.nativeOrder());
            } else {
                device.checkWork(JCudaDriver.cuEventSynchronize(done), "Copying with");
            }
        }

        ByteBuffer bytes(int from, int count) {
            return memory.slice(from, count).order(ByteOrder.nativeOrder());
        }

        void busy() {
            device.checkWork(JCudaDriver.cuEventRecord(done, device.stream()), "Recording an event on");
        }

        void close() {
            if (memory != null) {
                memory = null;
                JCudaDriver.cuEventDestroy(done);
                JCudaDriver.cuMemFreeHost(pointer);
            }
        }
    }
}
