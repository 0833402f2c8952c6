package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Tensor;
import java.util.Map;
import java.util.Optional;

/**
 * A model on the host: what it is, and its weights under timm's names.
 *
 * @param config what it is
 * @param tensors all weights, float32; linear layers {@code [outputs, inputs]}, the patch embedding
 *     {@code [dim, channels, patch, patch]}
 * @param metadata free-form facts from the file it was read from
 */
public record VisionTransformer(Architecture config, Map<String, Tensor> tensors, Map<String, String> metadata) {

    public VisionTransformer {
        tensors = Map.copyOf(tensors);
        metadata = Map.copyOf(metadata);
    }

    /** A tensor by its name. */
    public Tensor tensor(String name) {
        Tensor tensor = tensors.get(name);
        if (tensor == null) {
            throw new ModelException("The model has no tensor " + name);
        }
        return tensor;
    }

    /** A tensor's numbers as one row. */
    public Tensor vector(String name) {
        return tensor(name).reshape(Math.toIntExact(tensor(name).shape().elements()));
    }

    /** Weight of a layer as a matrix {@code [outputs, inputs]}. */
    public Tensor weight(Layer layer) {
        Tensor weight = tensor(layer.name() + ".weight");
        int outputs = weight.shape().size(0);
        return weight.reshape(outputs, Math.toIntExact(weight.shape().elements() / outputs));
    }

    /** Bias of a layer; some have none. */
    public Optional<Tensor> bias(Layer layer) {
        return Optional.ofNullable(tensors.get(layer.name() + ".bias"));
    }
}
