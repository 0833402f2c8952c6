package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.DeviceInfo;

/** The GPU without cuBLAS and cuDNN: our own kernels follow one order always, libraries do not. */
final class ReproducibleCuda extends CudaBackend {
    private final CudaBackend shared;

    ReproducibleCuda(CudaBackend shared) {
        super(shared);
        this.shared = shared;
    }

    @Override
    public Backend reproducible() {
        return this;
    }

    @Override
    public DeviceInfo device() {
        return shared.device();
    }

    /** Nothing: what it shares is closed with its owner. */
    @Override
    public void close() {
    }
}
