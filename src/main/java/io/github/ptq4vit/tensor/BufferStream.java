package io.github.ptq4vit.tensor;

import java.io.InputStream;
import java.nio.ByteBuffer;

/** Reads a buffer from its position on; the position moves along, so that others can go on where this stops. */
final class BufferStream extends InputStream {
    private final ByteBuffer buffer;

    BufferStream(ByteBuffer buffer) {
        this.buffer = buffer;
    }

    @Override
    public int read() {
        return buffer.hasRemaining() ? buffer.get() & 0xff : -1;
    }

    @Override
    public int read(byte[] target, int offset, int length) {
        if (length > 0 && !buffer.hasRemaining()) {
            return -1;
        }
        int count = Math.min(length, buffer.remaining());
        buffer.get(target, offset, count);
        return count;
    }

    @Override
    public int available() {
        return buffer.remaining();
    }

    @Override
    public boolean markSupported() {
        return true;
    }

    @Override
    public void mark(int limit) {
        buffer.mark();
    }

    @Override
    public void reset() {
        buffer.reset();
    }
}
