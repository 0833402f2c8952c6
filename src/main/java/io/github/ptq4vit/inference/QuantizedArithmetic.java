package io.github.ptq4vit.inference;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.InputTransform;
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
    private final Scope owner;
    private final VisionTransformer model;
    private final Optional<Arithmetic> others;
    private final Map<String, Layer> layers = new HashMap<>();
    private final Map<String, Integer> tokens = new HashMap<>();
    private final Map<String, List<CodeGrid>> leftGrids = new HashMap<>();
    private final Map<String, List<CodeGrid>> rightGrids = new HashMap<>();
    private final Map<String, Backend.Linear> weights = new HashMap<>();
    private final Map<String, InputData> inputs = new HashMap<>();

    /**
     * An input transform on the device.
     *
     * @param tokens of an image
     * @param prefixTokens of these that have a quantiser of their own
     */
    private record InputData(RowTransform transform, int tokens, int prefixTokens) {
    }

    /** Prepares all weights; the scope owns them. */
    public QuantizedArithmetic(Backend backend, Scope scope, QuantizedModel quantized) {
        this(backend, scope, quantized.model(), Optional.empty());
        quantized.layers().forEach(this::add);
    }

    /** Of a model some of whose layers are quantised, those that are {@linkplain #add added}; the others are multiplied as given. */
    public QuantizedArithmetic(Backend backend, Scope scope, VisionTransformer model, Arithmetic others) {
        this(backend, scope, model, Optional.of(others));
    }

    private QuantizedArithmetic(Backend backend, Scope scope, VisionTransformer model, Optional<Arithmetic> others) {
        this.backend = backend;
        this.owner = scope;
        this.model = model;
        this.others = others;
        model.config().layers().forEach(layer -> layers.put(layer.name(), layer));
        model.config().units().forEach(unit -> unit.layers().forEach(layer -> tokens.put(layer.name(), unit.input().sizes().size(0))));
    }

    /** From now on this layer is quantised. */
    public void add(QuantizedLayer q) {
        Layer layer = layers.get(q.name());
        require(layer != null, q, "the model has no such layer");
        if (layer.role().isMatmul()) {
            require(q.left().isEmpty() == q.right().isEmpty(), q, "a product of attention has both operands quantised or none");
        } else {
            require(q.left().size() <= (q.input().prefixTokens() > 0 ? 2 : 1), q, "the input of a linear layer has one scale");
            weights.put(layer.name(), q.isQuantized() ? weights(owner, q, layer)
                    : backend.linear(owner, model.weight(layer), model.bias(layer)));
            inputs.put(layer.name(), input(owner, q, tokens.getOrDefault(layer.name(), 1)));
        }
        leftGrids.put(layer.name(), q.leftGrids());
        rightGrids.put(layer.name(), q.rightGrids());
    }

    @Override
    public void linear(Layer layer, View x, View y) {
        List<CodeGrid> grids = leftGrids.get(layer.name());
        if (grids == null) {
            others.orElseThrow().linear(layer, x, y);
            return;
        }
        if (grids.isEmpty()) {
            backend.linear(x, weights.get(layer.name()), y);
            return;
        }
        InputData input = inputs.get(layer.name());
        Backend.Linear own = weights.get(layer.name());
        backend.linear(x, input.transform, grids.get(0), own, y);
        if (grids.size() > 1) {
            try (Scope scope = backend.scope()) {
                View rows = scope.floats(prefix(x, input).sizes());
                backend.copy(prefix(x, input), rows);
                View output = scope.floats(prefix(y, input).sizes());
                backend.linear(rows.rows(), input.transform, grids.get(1), own, output.rows());
                backend.copy(output, prefix(y, input));
            }
        }
    }

    /** The rows of the tokens that have a quantiser of their own, {@code [images, prefix tokens, length]}. */
    private static View prefix(View rows, InputData input) {
        return rows.reshape(rows.size(0) / input.tokens, input.tokens, rows.size(1)).slice(1, 0, input.prefixTokens);
    }

    private InputData input(Scope scope, QuantizedLayer q, int tokens) {
        InputTransform transform = q.input();
        int inputs = weights.get(q.name()).inputs();
        require(transform.factors().length == 0 || transform.factors().length == inputs, q, transform.factors().length
                + " factors do not fit " + inputs + " inputs");
        require(inputs % transform.hadamard() == 0 && transform.prefixTokens() <= tokens, q, "its input transform does not fit "
                + inputs + " inputs of " + tokens + " tokens");
        return new InputData(transform.onDevice(backend, scope, inputs), tokens, transform.prefixTokens());
    }

    @Override
    public void matmul(Layer layer, View a, View b, View c) {
        if (leftGrids.containsKey(layer.name()) && leftGrids.get(layer.name()).isEmpty()) {
            backend.matmul(a, b, c);
        } else if (leftGrids.containsKey(layer.name())) {
            backend.matmul(a, leftGrids.get(layer.name()), b, rightGrids.get(layer.name()), c);
        } else {
            others.orElseThrow().matmul(layer, a, b, c);
        }
    }

    private Backend.Linear weights(Scope scope, QuantizedLayer q, Layer layer) {
        Optional<Tensor> bias = model.bias(layer);
        byte[] codes = q.weightCodes();
        int outputs = layer.outputs();
        require(outputs > 0 && codes.length > 0 && codes.length % outputs == 0, q, codes.length + " codes do not fit "
                + outputs + " outputs");
        int inputs = codes.length / outputs;
        if (!q.left().isEmpty()) {
            return backend.linear(scope, codes, q.weightSteps(outputs), inputs, q.biasWithoutShift(bias, outputs));
        }
        return backend.linear(scope, Tensor.of(Shape.of(outputs, inputs), q.dequantizedWeight(outputs)), bias);
    }

    private static void require(boolean fine, QuantizedLayer layer, String rule) {
        if (!fine) {
            throw new IllegalArgumentException("Layer " + layer.name() + " cannot be calculated: " + rule);
        }
    }
}
