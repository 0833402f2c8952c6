package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Buffer;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.Optional;

/** A piece of a device's memory. */
final class CudaBuffer implements Buffer {
    private final DataType type;
    private final long elements;
    private final DeviceMemory memory;
    private Optional<DeviceMemory.Piece> piece;

    CudaBuffer(DataType type, long elements, DeviceMemory memory) {
        this.type = type;
        this.elements = elements;
        this.memory = memory;
        this.piece = Optional.of(memory.take(elements * type.bytes()));
    }

    @Override
    public DataType type() {
        return type;
    }

    @Override
    public long elements() {
        return elements;
    }

    /** Where the memory starts. */
    long address() {
        return piece.orElseThrow(() -> new BackendException("A buffer was used after its scope was closed")).address();
    }

    /** Gives the memory back; later use fails. */
    void release() {
        piece.ifPresent(memory::give);
        piece = Optional.empty();
    }

    /** Address of the first element of a view on this memory. */
    static long address(View view, DeviceMemory memory) {
        if (!(view.buffer() instanceof CudaBuffer buffer) || buffer.memory != memory) {
            throw new IllegalArgumentException("A buffer of another backend: " + view);
        }
        return buffer.address() + view.offset() * buffer.type.bytes();
    }

    /** The view itself, if it is dense and of that type. */
    static View dense(View view, DataType type) {
        if (!view.isDense() || view.buffer().type() != type) {
            throw new IllegalArgumentException("This operation takes dense views of " + type + ", not " + view);
        }
        return view;
    }
}
