package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.HashMap;
import java.util.Map;

/** Products in float32, with the model's own weights. */
public final class FloatArithmetic implements Arithmetic {
    private final Backend backend;
    private final Map<String, Backend.Linear> weights = new HashMap<>();

    /** Prepares all weights; the scope owns them. */
    public FloatArithmetic(Backend backend, Scope scope, VisionTransformer model) {
        this.backend = backend;
        for (Layer layer : model.config().layers()) {
            if (!layer.role().isMatmul()) {
                weights.put(layer.name(), backend.linear(scope, model.weight(layer), model.bias(layer)));
            }
        }
    }

    @Override
    public void linear(Layer layer, View x, View y) {
        backend.linear(x, weights.get(layer.name()), y);
    }

    @Override
    public void matmul(Layer layer, View a, View b, View c) {
        backend.matmul(a, b, c);
    }

    /** Gradient with respect to the input of a layer. */
    void linearBackward(Layer layer, View dy, View dx) {
        backend.linearBackward(dy, weights.get(layer.name()), dx);
    }
}
