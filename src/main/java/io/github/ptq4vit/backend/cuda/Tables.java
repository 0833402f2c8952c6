package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.DataType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Consumer;

/** Small tables that kernels read. */
final class Tables {

    private Tables() {
    }

    /** Copies what is written into a buffer to memory that the scope owns; returns its address. */
    static long upload(CudaDevice device, CudaScope scope, long bytes, Consumer<ByteBuffer> write) {
        ByteBuffer words = ByteBuffer.allocate(Math.toIntExact(bytes)).order(ByteOrder.nativeOrder());
        write.accept(words);
        long address = scope.buffer(DataType.INT8, bytes).address();
        device.transfers().upload((from, piece) -> piece.put(words.array(), (int) from, piece.remaining()), address, bytes);
        return address;
    }
}
