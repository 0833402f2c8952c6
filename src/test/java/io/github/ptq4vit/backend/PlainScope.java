package io.github.ptq4vit.backend;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.function.Consumer;

/** Owns plain buffers and weights; tells its backend when it closes. */
final class PlainScope implements Scope {
    private final List<PlainBuffer> buffers = new ArrayList<>();
    private final Consumer<PlainScope> onClose;
    private boolean closed;

    PlainScope(Consumer<PlainScope> onClose) {
        this.onClose = onClose;
    }

    @Override
    public Buffer buffer(DataType type, long elements) {
        checkOpen();
        PlainBuffer buffer = new PlainBuffer(type, Math.toIntExact(elements));
        buffers.add(buffer);
        return buffer;
    }

    @Override
    public void keepOnly(Collection<View> views) {
        List<PlainBuffer> rest = new ArrayList<>(buffers);
        views.forEach(view -> rest.remove(view.buffer()));
        rest.forEach(PlainBuffer::close);
        buffers.removeAll(rest);
    }

    void checkOpen() {
        if (closed) {
            throw new BackendException("A scope was used after it was closed");
        }
    }

    @Override
    public void close() {
        closed = true;
        buffers.forEach(PlainBuffer::close);
        onClose.accept(this);
    }
}
