package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Tensor;

/**
 * Another backend's memory and transfers with the default operations, which are reproducible.
 *
 * @param backend must stay open
 */
record HostBackend(Backend backend) implements Backend {

    @Override
    public DeviceInfo device() {
        return backend.device();
    }

    @Override
    public Backend reproducible() {
        return this;
    }

    @Override
    public Scope scope() {
        return backend.scope();
    }

    @Override
    public void parallel(int items, Part part) {
        backend.parallel(items, part);
    }

    @Override
    public void upload(Tensor from, View to) {
        backend.upload(from, to);
    }

    @Override
    public Tensor download(View from) {
        return backend.download(from);
    }

    @Override
    public void copy(View from, View to) {
        backend.copy(from, to);
    }

    @Override
    public void quantize(View x, CodeGrid grid, int range, View codes) {
        backend.quantize(x, grid, range, codes);
    }

    /** Nothing: what it shares is closed with its owner. */
    @Override
    public void close() {
    }
}
