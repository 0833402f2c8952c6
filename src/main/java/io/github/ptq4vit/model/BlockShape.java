package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A transformer block.
 *
 * @param name timm's name: {@code blocks.3}
 * @param tokens length of the sequence
 * @param dim length of a token
 * @param heads of attention
 * @param hidden length of a token inside the MLP, after the activation
 * @param activation between the layers of the MLP
 * @param windows of Swin: tokens attend within windows, queries are scaled before they meet the keys, and a learnt bias by
 *     relative position is added; else every token attends to every other, and the products are scaled
 * @param layerScale whether what the block adds to its input is multiplied by a learnt factor a channel
 */
public record BlockShape(String name, int tokens, int dim, int heads, int hidden, Activation activation,
        Optional<Windows> windows, boolean layerScale) implements UnitShape {

    /** Length of a query. */
    public int headDim() {
        return dim / heads;
    }

    /** Number of windows; 1 if every token attends to every other. */
    public int windowCount() {
        return windows.map(Windows::count).orElse(1);
    }

    /** Tokens that attend to each other. */
    public int windowTokens() {
        return tokens / windowCount();
    }

    @Override
    public int inputTokens() {
        return tokens;
    }

    @Override
    public int inputDim() {
        return dim;
    }

    @Override
    public int outputTokens() {
        return tokens;
    }

    @Override
    public int outputDim() {
        return dim;
    }

    @Override
    public List<Layer> layers() {
        return List.of(linear(LayerRole.QKV, 3 * dim, dim), linear(LayerRole.PROJECTION, dim, dim),
                Layer.matmul(layer(LayerRole.QUERY_KEY), LayerRole.QUERY_KEY, Distribution.ANY),
                Layer.matmul(layer(LayerRole.PROBABILITY_VALUE), LayerRole.PROBABILITY_VALUE, Distribution.SOFTMAX),
                linear(LayerRole.FC1, activation.parts() * hidden, dim),
                new Layer(layer(LayerRole.FC2), LayerRole.FC2, activation.output(), Optional.of(Shape.of(dim, hidden))));
    }

    @Override
    public List<NormedLayers> normedLayers() {
        return List.of(new NormedLayers(name + ".norm1", List.of(linear(LayerRole.QKV, 3 * dim, dim))),
                new NormedLayers(name + ".norm2", List.of(linear(LayerRole.FC1, activation.parts() * hidden, dim))));
    }

    @Override
    public Map<String, Shape> tensors() {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        for (String vector : List.of("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")) {
            shapes.put(name + "." + vector, Shape.of(dim));
        }
        windows.ifPresent(w -> shapes.put(positionTable(), Shape.of(w.relativePositions(), heads)));
        if (layerScale) {
            shapes.put(layerScale(1), Shape.of(dim));
            shapes.put(layerScale(2), Shape.of(dim));
        }
        return shapes;
    }

    /** Name of the bias by relative position. */
    public String positionTable() {
        return name + ".attn.relative_position_bias_table";
    }

    /** Name of the factors for what attention (1) or the MLP (2) adds. */
    public String layerScale(int part) {
        return name + ".ls" + part + ".gamma";
    }

    private String layer(LayerRole role) {
        return name + "." + role.suffix();
    }

    private Layer linear(LayerRole role, int outputs, int inputs) {
        return Layer.linear(layer(role), role, outputs, inputs);
    }
}
