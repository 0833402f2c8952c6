package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import org.bytedeco.javacpp.BytePointer;

/** A piece of the native heap. */
final class CpuBuffer implements Buffer {
    private final DataType type;
    private final long elements;
    private long address;

    CpuBuffer(DataType type, long elements, long address) {
        this.type = type;
        this.elements = elements;
        this.address = address;
    }

    @Override
    public DataType type() {
        return type;
    }

    @Override
    public long elements() {
        return elements;
    }

    long bytes() {
        return elements * type.bytes();
    }

    /** Where the memory starts. */
    long address() {
        if (address == 0) {
            throw new BackendException("A buffer was used after its scope was closed");
        }
        return address;
    }

    /** Forgets the address, so that later use fails; returns it. */
    long invalidate() {
        long old = address;
        address = 0;
        return old;
    }

    /** Address of a view's first element. */
    static long address(View view) {
        CpuBuffer buffer = (CpuBuffer) view.buffer();
        return buffer.address() + view.offset() * buffer.type.bytes();
    }

    /** The memory of a dense float32 view, as a buffer of Java's. */
    static FloatBuffer floats(View view) {
        return bytes(view, DataType.FLOAT32).asFloatBuffer();
    }

    /** The memory of a dense view of that type; at most 2 GiB. */
    static ByteBuffer bytes(View view, DataType type) {
        if (!view.isDense() || view.buffer().type() != type) {
            throw new IllegalArgumentException("A dense " + type + " view is needed, not " + view);
        }
        long size = view.elements() * type.bytes();
        return at(address(view), Math.toIntExact(size));
    }

    /** A window on native memory. */
    static ByteBuffer at(long address, int bytes) {
        return new Window(address, bytes).asByteBuffer().order(ByteOrder.nativeOrder());
    }

    /** A copy of float32 numbers. */
    static float[] array(long address, int count) {
        float[] numbers = new float[count];
        at(address, Math.multiplyExact(count, Float.BYTES)).asFloatBuffer().get(numbers);
        return numbers;
    }

    private static final class Window extends BytePointer {
        Window(long address, long bytes) {
            super((org.bytedeco.javacpp.Pointer) null);
            this.address = address;
            this.limit = bytes;
            this.capacity = bytes;
        }
    }
}
