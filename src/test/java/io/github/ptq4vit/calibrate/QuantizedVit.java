package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** A network with every layer quantised, in the fewest words. */
final class QuantizedVit implements Arithmetic {
    private final Backend backend;
    private final VisionTransformer model;
    private final Map<String, QuantizedLayer> layers;

    private QuantizedVit(Backend backend, VisionTransformer model, List<QuantizedLayer> layers) {
        this.backend = backend;
        this.model = model;
        this.layers = layers.stream().collect(Collectors.toMap(QuantizedLayer::name, Function.identity()));
    }

    static Tensor logits(Backend backend, VisionTransformer model, List<QuantizedLayer> layers, Tensor pixels) {
        try (Scope scope = backend.scope()) {
            return new Network(backend, scope, model).logits(new QuantizedVit(backend, model, layers), pixels);
        }
    }

    /** {@code y = Q(x) Q(W)^T + b}; x stays float32 if the layer says so. */
    static void linear(Backend backend, Scope scope, QuantizedLayer layer, View x, Optional<Tensor> bias, View y) {
        int outputs = y.size(-1);
        float[] steps = layer.weightSteps(outputs);
        byte[] codes = layer.weightCodes();
        List<CodeGrid> grids = layer.leftGrids();
        if (!grids.isEmpty()) {
            backend.linear(x, grids.get(0), backend.linear(scope, codes, steps, codes.length / outputs, bias), y);
            return;
        }
        float[] weight = new float[codes.length];
        for (int i = 0; i < weight.length; i++) {
            weight[i] = codes[i] * steps[i / (codes.length / outputs)];
        }
        backend.linear(x, backend.linear(scope, Tensor.of(Shape.of(outputs, codes.length / outputs), weight), bias), y);
    }

    @Override
    public void linear(Layer layer, View x, View y) {
        try (Scope scope = backend.scope()) {
            linear(backend, scope, layers.get(layer.name()), x, model.bias(layer), y);
        }
    }

    @Override
    public void matmul(Layer layer, View a, View b, View c) {
        QuantizedLayer quantized = layers.get(layer.name());
        backend.matmul(a, quantized.leftGrids(), b, quantized.rightGrids(), c);
    }
}
