package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;

/** Small things that networks share. */
final class Networks {
    private Networks() {
    }

    /** A tensor on the device. */
    static View array(Backend backend, Scope scope, Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }
}
