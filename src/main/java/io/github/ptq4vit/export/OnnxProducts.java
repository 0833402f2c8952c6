package io.github.ptq4vit.export;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** How a graph multiplies, in float32 or with codes. Notes where the layers are. */
abstract class OnnxProducts {
    final OnnxGraph graph;
    final VisionTransformer model;
    private final List<OnnxModel.LayerValues> layers;

    OnnxProducts(OnnxGraph graph, VisionTransformer model) {
        this(graph, model, new ArrayList<>());
    }

    private OnnxProducts(OnnxGraph graph, VisionTransformer model, List<OnnxModel.LayerValues> layers) {
        this.graph = graph;
        this.model = model;
        this.layers = layers;
    }

    /** Where the layers are that were written so far. */
    final List<OnnxModel.LayerValues> layers() {
        return List.copyOf(layers);
    }

    final void note(Layer layer, String source, List<OnnxModel.Operand> inputs, List<OnnxModel.Operand> outputs) {
        layers.add(new OnnxModel.LayerValues(layer.name(), source, inputs, outputs));
    }

    final void note(Layer layer, String input, String output) {
        note(layer, input, List.of(new OnnxModel.Operand(input)), List.of(new OnnxModel.Operand(output)));
    }

    /** The patch embedding: from {@code [batch, channels, side, side]} to {@code [batch, dim, grid, grid]}. */
    final String embedding(Layer layer, String pixels) {
        Architecture config = model.config();
        String map = graph.add("Conv", layer.name(), List.of(convolutionInput(layer, pixels), convolutionWeight(layer),
                graph.floats(layer.name() + ".bias", model.bias(layer).orElseThrow())),
                OnnxGraph.attribute("strides", config.patchSize(), config.patchSize()));
        note(layer, pixels, map);
        return map;
    }

    /** {@code x W^T + b} along the last axis. */
    abstract String linear(Layer layer, String x);

    /** Begins attention: multiplies the input {@code [.., n, dim]} with the weights of queries, keys and values. */
    abstract Attention attention(BlockShape shape, String input);

    /** The products of attention. */
    interface Attention {
        /** Queries times keys, scaled, {@code [.., heads, n, n]}. */
        String scores();

        /** Probabilities times values, {@code [.., heads, n, head dim]}. */
        String context(String probabilities);
    }

    /** The images as the patch embedding takes them. */
    abstract String convolutionInput(Layer layer, String pixels);

    /** The weight of the patch embedding, {@code [dim, channels, patch, patch]}. */
    abstract String convolutionWeight(Layer layer);

    /** From {@code [.., n, dim]} to {@code [.., heads, n, head dim]}, or transposed once more. */
    final String heads(BlockShape shape, String name, String rows, boolean transposed) {
        String cut = graph.add("Reshape", name + ".rows", List.of(rows,
                graph.integers(name + ".sizes", -1, shape.windowTokens(), shape.heads(), shape.headDim())));
        return graph.add("Transpose", name + ".heads", List.of(cut), transposed ? OnnxGraph.attribute("perm", 0, 2, 3, 1)
                : OnnxGraph.attribute("perm", 0, 2, 1, 3));
    }

    /** In float32, with the model's own weights. */
    static final class Float32 extends OnnxProducts {
        Float32(OnnxGraph graph, VisionTransformer model) {
            super(graph, model);
        }

        /** For some layers among others that are multiplied otherwise. */
        Float32(OnnxProducts others) {
            super(others.graph, others.model, others.layers);
        }

        @Override
        String linear(Layer layer, String x) {
            String weight = graph.floats(layer.name() + ".weight", transposed(model.weight(layer)));
            boolean biased = model.bias(layer).isPresent();
            String product = graph.add("MatMul", biased ? layer.name() + ".product" : layer.name(), List.of(x, weight));
            String y = biased ? graph.add("Add", layer.name(), List.of(product,
                    graph.floats(layer.name() + ".bias", model.bias(layer).orElseThrow()))) : product;
            note(layer, x, y);
            return y;
        }

        @Override
        Attention attention(BlockShape shape, String input) {
            String name = shape.name() + ".attn";
            List<String> rows = graph.split(name + ".parts", linear(shape.layer(LayerRole.QKV), input), 3);
            String queries = heads(shape, name + ".q", rows.get(0), false);
            String keys = heads(shape, name + ".k", rows.get(1), true);
            String values = heads(shape, name + ".v", rows.get(2), false);
            float factor = shape.scoreFactor();
            boolean scaledBefore = shape.windows().isPresent();
            return new Attention() {
                @Override
                public String scores() {
                    Layer layer = shape.layer(LayerRole.QUERY_KEY);
                    String factors = graph.scalar(name + ".scale", factor);
                    String q = scaledBefore ? graph.add("Mul", name + ".q.scaled", List.of(queries, factors)) : queries;
                    String product = graph.add("MatMul", layer.name(), List.of(q, keys));
                    note(layer, rows.get(0), List.of(new OnnxModel.Operand(rows.get(0), scaledBefore ? factor : 1),
                            new OnnxModel.Operand(rows.get(1))), List.of(new OnnxModel.Operand(product)));
                    return scaledBefore ? product : graph.add("Mul", name + ".scores", List.of(product, factors));
                }

                @Override
                public String context(String probabilities) {
                    Layer layer = shape.layer(LayerRole.PROBABILITY_VALUE);
                    String context = graph.add("MatMul", layer.name(), List.of(probabilities, values));
                    note(layer, probabilities, List.of(new OnnxModel.Operand(probabilities), new OnnxModel.Operand(rows.get(2))),
                            List.of(new OnnxModel.Operand(context)));
                    return context;
                }
            };
        }

        @Override
        String convolutionInput(Layer layer, String pixels) {
            return pixels;
        }

        @Override
        String convolutionWeight(Layer layer) {
            return graph.floats(layer.name() + ".weight", model.tensor(layer.name() + ".weight"));
        }
    }

    /** From {@code [outputs, inputs]} to {@code [inputs, outputs]}. */
    static Tensor transposed(Tensor weight) {
        int outputs = weight.shape().size(0);
        int inputs = weight.shape().size(1);
        float[] result = new float[weight.data().limit()];
        for (int i = 0; i < result.length; i++) {
            result[i % inputs * outputs + i / inputs] = weight.data().get(i);
        }
        return Tensor.of(Shape.of(inputs, outputs), result);
    }
}
