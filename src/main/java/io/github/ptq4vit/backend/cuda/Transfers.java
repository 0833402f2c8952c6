package io.github.ptq4vit.backend.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jcuda.Pointer;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/**
 * Copies between host and device in order with the stream, through two pieces of pinned memory: while the device copies one,
 * the host fills or empties the other. An upload returns when the host's memory has been read, a download when it has been
 * written.
 */
final class Transfers implements AutoCloseable {
    private static final int PIECE = 4 << 20;

    private final CudaDevice device;
    private final Slot[] slots = {new Slot(), new Slot()};
    private int next;

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
        for (long done = 0; done < bytes; done += PIECE) {
            int size = (int) Math.min(PIECE, bytes - done);
            Slot slot = slots[next];
            next = 1 - next;
            slot.waitUntilFree();
            from.copy(done, slot.bytes(size));
            device.checkWork(JCudaDriver.cuMemcpyHtoDAsync(new DevicePointer(to + done), slot.pointer, size, device.stream()),
                    "Copying to");
            slot.busy();
        }
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
                to.copy(start, slot.bytes((int) Math.min(PIECE, bytes - start)));
            }
        }
    }

    @Override
    public synchronized void close() {
        for (Slot slot : slots) {
            slot.close();
        }
    }

    /** A piece of pinned memory and when the device is done with it; both made at first use. */
    private final class Slot {
        private final Pointer pointer = new Pointer();
        private final CUevent done = new CUevent();
        private ByteBuffer memory;

        void waitUntilFree() {
            if (memory == null) {
                CudaErrors.check(JCudaDriver.cuEventCreate(done, CUevent_flags.CU_EVENT_DISABLE_TIMING), "Creating an event on "
                        + device.words());
                int result = JCudaDriver.cuMemAllocHost(pointer, PIECE);
                if (result != 0) {
                    JCudaDriver.cuEventDestroy(done);
                }
                CudaErrors.check(result, "Asking for " + (PIECE >> 20) + " MiB of pinned host memory");
                memory = pointer.getByteBuffer(0, PIECE).order(ByteOrder.nativeOrder());
            } else {
                device.checkWork(JCudaDriver.cuEventSynchronize(done), "Copying with");
            }
        }

        ByteBuffer bytes(int size) {
            return memory.slice(0, size).order(ByteOrder.nativeOrder());
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
