package io.github.ptq4vit.evaluate;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Products of a quantised model: inputs become codes, codes are multiplied exactly, and the result is scaled. A layer whose
 * input stays float32 (the patch embedding) is multiplied by {@code code * scale}.
 */
public final class QuantizedArithmetic implements Arithmetic {
    private final Backend backend;
    private final Map<String, QuantizedLayer> layers;
    private final Map<String, List<CodeGrid>> leftGrids = new HashMap<>();
    private final Map<String, List<CodeGrid>> rightGrids = new HashMap<>();
    private final Map<String, Backend.Linear> weights = new HashMap<>();

    /** Prepares all weights; the scope owns them. */
    public QuantizedArithmetic(Backend backend, Scope scope, QuantizedModel quantized) {
        this.backend = backend;
        this.layers = quantized.byName();
        VisionTransformer model = quantized.model();
        for (Layer layer : model.config().layers()) {
            QuantizedLayer q = layers.get(layer.name());
            leftGrids.put(layer.name(), q.leftGrids());
            rightGrids.put(layer.name(), q.rightGrids());
            if (layer.role().isMatmul()) {
                require(!q.left().isEmpty() && !q.right().isEmpty(), q, "a product of attention needs both operands quantised");
            } else {
                require(q.left().size() <= 1, q, "the input of a linear layer has one scale");
                weights.put(layer.name(), weights(scope, q, layer, model));
            }
        }
    }

    @Override
    public void linear(Layer layer, View x, View y) {
        List<CodeGrid> input = leftGrids.get(layer.name());
        if (input.isEmpty()) {
            backend.linear(x, weights.get(layer.name()), y);
        } else {
            backend.linear(x, input.get(0), weights.get(layer.name()), y);
        }
    }

    @Override
    public void matmul(Layer layer, View a, View b, View c) {
        backend.matmul(a, leftGrids.get(layer.name()), b, rightGrids.get(layer.name()), c);
    }

    private Backend.Linear weights(Scope scope, QuantizedLayer q, Layer layer, VisionTransformer model) {
        Optional<Tensor> bias = model.bias(layer);
        byte[] codes = q.weightCodes();
        int outputs = layer.outputs();
        require(outputs > 0 && codes.length > 0 && codes.length % outputs == 0, q, codes.length + " codes do not fit "
                + outputs + " outputs");
        int inputs = codes.length / outputs;
        if (!q.left().isEmpty()) {
            return backend.linear(scope, codes, q.weightSteps(outputs), inputs, bias);
        }
        return backend.linear(scope, Tensor.of(Shape.of(outputs, inputs), q.dequantizedWeight(outputs)), bias);
    }

    private static void require(boolean fine, QuantizedLayer layer, String rule) {
        if (!fine) {
            throw new IllegalArgumentException("Layer " + layer.name() + " cannot be calculated: " + rule);
        }
    }
}
