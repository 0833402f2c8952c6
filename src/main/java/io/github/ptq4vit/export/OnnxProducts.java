package io.github.ptq4vit.export;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;

/** How a graph multiplies, in float32 or with codes. The result of a layer is a value of the layer's name. */
abstract class OnnxProducts {
    final OnnxGraph graph;
    final VisionTransformer model;

    OnnxProducts(OnnxGraph graph, VisionTransformer model) {
        this.graph = graph;
        this.model = model;
    }

    /** The patch embedding: from {@code [batch, channels, side, side]} to {@code [batch, dim, grid, grid]}. */
    final String embedding(Layer layer, String pixels) {
        Architecture config = model.config();
        return graph.add("Conv", layer.name(), List.of(convolutionInput(layer, pixels), convolutionWeight(layer),
                graph.floats(layer.name() + ".bias", model.bias(layer).orElseThrow())),
                OnnxGraph.attribute("strides", config.patchSize(), config.patchSize()));
    }

    /** {@code x W^T + b} along the last axis. */
    abstract String linear(Layer layer, String x);

    /** {@code a b}, {@code [.., heads, n, k]} times {@code [.., heads, k, m]}. */
    abstract String matmul(Layer layer, String a, String b);

    /** The images as the patch embedding takes them. */
    abstract String convolutionInput(Layer layer, String pixels);

    /** The weight of the patch embedding, {@code [dim, channels, patch, patch]}. */
    abstract String convolutionWeight(Layer layer);

    /** Adds the layer's bias, if it has one, to the product called {@link #unbiased}. */
    final String biased(Layer layer, String product) {
        return model.bias(layer).map(bias -> graph.add("Add", layer.name(),
                List.of(product, graph.floats(layer.name() + ".bias", bias)))).orElse(product);
    }

    /** The name of a layer's product before the bias. */
    final String unbiased(Layer layer) {
        return model.bias(layer).isPresent() ? layer.name() + ".product" : layer.name();
    }

    /** In float32, with the model's own weights. */
    static final class Float32 extends OnnxProducts {
        Float32(OnnxGraph graph, VisionTransformer model) {
            super(graph, model);
        }

        @Override
        String linear(Layer layer, String x) {
            String weight = graph.floats(layer.name() + ".weight", transposed(model.weight(layer)));
            return biased(layer, graph.add("MatMul", unbiased(layer), List.of(x, weight)));
        }

        @Override
        String matmul(Layer layer, String a, String b) {
            return graph.add("MatMul", layer.name(), List.of(a, b));
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
