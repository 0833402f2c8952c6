package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
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

    /** Numbers on the device as one row. */
    static View array(Backend backend, Scope scope, float[] numbers) {
        return array(backend, scope, Tensor.of(Shape.of(numbers.length), numbers));
    }

    /** A tensor on the device as one row. */
    static View vector(Backend backend, Scope scope, Tensor tensor) {
        return array(backend, scope, tensor.reshape(Math.toIntExact(tensor.shape().elements())));
    }
}
