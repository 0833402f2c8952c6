package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * A model whose layers are quantised, as it is calculated with.
 *
 * @param model biases, norms, tokens and positions in float32; weights of quantised layers may be there or not, they are
 *     not used
 * @param layers all quantised layers, in network order
 */
public record QuantizedModel(VisionTransformer model, List<QuantizedLayer> layers) {

    /** Checks that there is exactly one quantised layer for each of the network's. */
    public QuantizedModel {
        layers = List.copyOf(layers);
        List<String> expected = model.config().layers().stream().map(Layer::name).toList();
        List<String> found = layers.stream().map(QuantizedLayer::name).toList();
        if (!expected.equals(found)) {
            throw new IllegalArgumentException("The network has the layers " + expected + ", quantised are " + found);
        }
    }

    /** The quantised layers by name. */
    public Map<String, QuantizedLayer> byName() {
        return layers.stream().collect(Collectors.toMap(QuantizedLayer::name, Function.identity()));
    }
}
