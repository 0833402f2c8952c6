package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.ArrayList;
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
    public Value input() {
        return tokens(".input", dim);
    }

    @Override
    public Value output() {
        return tokens("", dim);
    }

    @Override
    public List<Stage> stages() {
        List<Stage> stages = new ArrayList<>();
        Value middle = tokens(".middle", dim);
        add(stages, 1, attention(stages), input(), middle);
        Value norm = next(stages, new Stage.Norm(middle, name + ".norm2", tokens(".norm2", dim)));
        Value fc1 = linear(stages, LayerRole.FC1, norm);
        Value activated = next(stages, new Stage.Activate(fc1, activation, tokens(".mlp.act", hidden)));
        add(stages, 2, linear(stages, LayerRole.FC2, activated), middle, output());
        return stages;
    }

    private Value attention(List<Stage> stages) {
        Value norm = next(stages, new Stage.Norm(input(), name + ".norm1", tokens(".norm1", dim)));
        if (windows.isPresent()) {
            norm = next(stages, new Stage.Reorder(norm, windows.get().order(), tokens(".attn.windows", dim)));
        }
        Value qkv = linear(stages, LayerRole.QKV, norm);
        Value queries = heads(qkv, 0, 3);
        if (windows.isPresent()) {
            queries = next(stages, new Stage.Multiply(queries, Optional.empty(), scoreFactor(), heads(".attn.q.scaled", headDim())));
        }
        Value scores = next(stages, new Stage.Product(layer(LayerRole.QUERY_KEY), queries, heads(qkv, 1, 3), true,
                heads(".attn.matmul1", windowTokens())));
        if (windows.isPresent()) {
            scores = next(stages, new Stage.Bias(scores, windows.get(), positionTable(), heads(".attn.bias", windowTokens())));
        }
        Value probabilities = next(stages, new Stage.Softmax(scores, windows.isPresent() ? 1 : scoreFactor(),
                heads(".attn.softmax", windowTokens())));
        Value context = tokens(".attn.context", dim);
        stages.add(new Stage.Product(layer(LayerRole.PROBABILITY_VALUE), probabilities, heads(qkv, 2, 3), false, heads(context, 0, 1)));
        Value projected = linear(stages, LayerRole.PROJECTION, context);
        return windows.isEmpty() ? projected
                : next(stages, new Stage.Reorder(projected, windows.get().order().inverse(), tokens(".attn.image", dim)));
    }

    /** Adds what attention (1) or the MLP (2) makes of some tokens to these. */
    private void add(List<Stage> stages, int part, Value made, Value tokens, Value sum) {
        Value scaled = !layerScale ? made
                : next(stages, new Stage.Multiply(made, Optional.of(layerScale(part)), 1, tokens(".ls" + part, dim)));
        stages.add(new Stage.Add(scaled, tokens, sum));
    }

    private Value linear(List<Stage> stages, LayerRole role, Value x) {
        return next(stages, new Stage.Linear(layer(role), x, tokens("." + role.suffix(), layer(role).outputs())));
    }

    private static Value next(List<Stage> stages, Stage stage) {
        stages.add(stage);
        return stage.output();
    }

    private Value tokens(String array, int length) {
        return Value.of(name + array, tokens, length);
    }

    private Value heads(String array, int length) {
        return Value.of(name + array, windowCount(), heads, windowTokens(), length);
    }

    private Value heads(Value array, int part, int parts) {
        return array.seen(new Value.Heads(part, parts, windowCount(), heads));
    }

    /** What scores are multiplied with. */
    public float scoreFactor() {
        return (float) (1 / Math.sqrt(headDim()));
    }

    @Override
    public List<Layer> layers() {
        return List.of(linear(LayerRole.QKV, 3 * dim, dim), linear(LayerRole.PROJECTION, dim, dim),
                Layer.matmul(nameOf(LayerRole.QUERY_KEY), LayerRole.QUERY_KEY, Distribution.ANY),
                Layer.matmul(nameOf(LayerRole.PROBABILITY_VALUE), LayerRole.PROBABILITY_VALUE, Distribution.SOFTMAX),
                linear(LayerRole.FC1, activation.parts() * hidden, dim),
                new Layer(nameOf(LayerRole.FC2), LayerRole.FC2, activation.output(), Optional.of(Shape.of(dim, hidden))));
    }

    @Override
    public List<NormedLayers> normedLayers() {
        return List.of(new NormedLayers(name + ".norm1", List.of(layer(LayerRole.QKV))),
                new NormedLayers(name + ".norm2", List.of(layer(LayerRole.FC1))));
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

    private String nameOf(LayerRole role) {
        return name + "." + role.suffix();
    }

    private Layer linear(LayerRole role, int outputs, int inputs) {
        return Layer.linear(nameOf(role), role, outputs, inputs);
    }
}
