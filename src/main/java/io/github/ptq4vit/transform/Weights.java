package io.github.ptq4vit.transform;

import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;

/** The tensors of a model while they are changed. */
final class Weights {
    private final VisionTransformer model;
    private final Map<String, float[]> changed = new HashMap<>();
    private final Map<String, Shape> shapes = new HashMap<>();

    Weights(VisionTransformer model) {
        this.model = model;
    }

    /** A tensor's numbers, to be changed in place. */
    float[] of(String name) {
        return changed.computeIfAbsent(name, n -> {
            shapes.put(n, model.tensor(n).shape());
            return model.tensor(n).toArray().clone();
        });
    }

    /** The same; zeros if the model lacks the tensor. */
    float[] orZeros(String name, int length) {
        if (!model.tensors().containsKey(name) && !changed.containsKey(name)) {
            changed.put(name, new float[length]);
            shapes.put(name, Shape.of(length));
        }
        return of(name);
    }

    /** The model with what was changed. */
    VisionTransformer model() {
        Map<String, Tensor> tensors = new HashMap<>(model.tensors());
        changed.forEach((name, numbers) -> tensors.put(name, Tensor.of(shapes.get(name), numbers)));
        return new VisionTransformer(model.config(), tensors, model.metadata());
    }
}
