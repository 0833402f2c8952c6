package io.github.ptq4vit.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.inference.QuantizedArithmetic;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Compares the layers of an exported model in ONNX Runtime with this library's. A layer is given the numbers that ONNX Runtime
 * quantises: after the layer's input transform, and in units of the heads' scales where the graph has them so. Else a number that
 * rounding puts on the other side of a tie would make a whole code's difference.
 */
final class ExportedLayers {
    /**
     * Of the largest output of a layer: sums of at most 256 products, each and the sum rounded to 24 bits in either runtime.
     * One code more or less is at least ten times as much.
     */
    private static final double ROUNDING = 3e-6;
    /** Of the largest transformed number: a sum of at most 64 in two orders. */
    private static final double TRANSFORM_ROUNDING = 1e-6;

    private final Backend backend;
    private final VisionTransformer model;
    private final Map<String, QuantizedLayer> quantized;
    private final Tensor images;
    private final OnnxModel exported;
    private final Map<String, Tensor> theirs;

    private ExportedLayers(Backend backend, VisionTransformer model, Map<String, QuantizedLayer> quantized, OnnxModel exported,
            Tensor images) throws OrtException {
        this.backend = backend;
        this.model = model;
        this.quantized = quantized;
        this.images = images;
        this.exported = exported.exposeLayers();
        try (RuntimeSession runtime = new RuntimeSession(exported.toBytes())) {
            this.theirs = runtime.run(images);
        }
        theirs.put(OnnxModel.INPUT, images);
    }

    static void compare(Backend backend, QuantizedModel model, OnnxModel exported, Tensor images) throws OrtException {
        ExportedLayers layers = new ExportedLayers(backend, model.model(), model.byName(), exported, images);
        layers.transforms();
        try (Scope scope = backend.scope()) {
            layers.outputs(new QuantizedArithmetic(backend, scope, layers.asInTheGraph(model)));
        }
    }

    static void compare(Backend backend, VisionTransformer model, OnnxModel exported, Tensor images) throws OrtException {
        ExportedLayers layers = new ExportedLayers(backend, model, Map.of(), exported, images);
        try (Scope scope = backend.scope()) {
            layers.outputs(new FloatArithmetic(backend, scope, model));
        }
    }

    /** The model of the numbers that are quantised in the graph. */
    private QuantizedModel asInTheGraph(QuantizedModel quantizedModel) {
        Map<String, Tensor> tensors = new LinkedHashMap<>(model.tensors());
        List<QuantizedLayer> layers = new ArrayList<>();
        Map<String, Layer> byName = byName();
        Map<String, OnnxModel.LayerValues> values = exported.layers().stream()
                .collect(Collectors.toMap(OnnxModel.LayerValues::layer, Function.identity()));
        for (QuantizedLayer q : quantizedModel.layers()) {
            Layer layer = byName.get(q.name());
            if (layer.role().isMatmul()) {
                List<OnnxModel.Operand> inputs = values.get(q.name()).inputs();
                layers.add(new QuantizedLayer(q.name(), inUnits(q.left(), inputs.get(0).scales()),
                        inUnits(q.right(), inputs.get(1).scales()), q.weightCodes(), q.input()));
            } else {
                q.biasWithoutShift(model.bias(layer), layer.outputs()).ifPresent(bias -> tensors.put(q.name() + ".bias", bias));
                layers.add(new QuantizedLayer(q.name(), q.left(), q.right(), q.weightCodes(),
                        InputTransform.NONE.withPrefixTokens(q.input().prefixTokens())));
            }
        }
        return new QuantizedModel(new VisionTransformer(model.config(), tensors, model.metadata()), layers);
    }

    private static List<Quantizer> inUnits(List<Quantizer> quantizers, List<Float> units) {
        List<Quantizer> result = new ArrayList<>();
        for (int i = 0; i < quantizers.size(); i++) {
            float unit = units.get(units.size() == 1 ? 0 : i);
            if (unit == 1) {
                result.add(quantizers.get(i));
            } else if (quantizers.get(i) instanceof Quantizer.Uniform uniform) {
                result.add(new Quantizer.Uniform(uniform.scale() / unit, uniform.bits()));
            } else {
                Quantizer.Affine affine = (Quantizer.Affine) quantizers.get(i);
                result.add(new Quantizer.Affine(affine.scale() / unit, affine.zeroPoint(), affine.bits()));
            }
        }
        return result;
    }

    private Map<String, Layer> byName() {
        return model.config().layers().stream().collect(Collectors.toMap(Layer::name, Function.identity()));
    }

    private void transforms() {
        for (OnnxModel.LayerValues values : exported.layers()) {
            InputTransform transform = quantized.get(values.layer()).input();
            if (transform.changesNumbers()) {
                float[] numbers = theirs.get(values.source()).toArray();
                int channels = theirs.get(values.source()).shape().size(-1);
                float[] shifts = transform.shifts(channels);
                for (int i = 0; i < numbers.length; i++) {
                    numbers[i] = numbers[i] * (transform.factors().length == 0 ? 1 : transform.factors()[i % channels])
                            + shifts[i % channels];
                }
                HostOperations.hadamard(numbers, numbers.length, transform.hadamard());
                close(values.layer() + "'s input transform", numbers, theirs.get(values.inputs().get(0).value()).toArray(),
                        TRANSFORM_ROUNDING);
            }
        }
    }

    private void outputs(Arithmetic ours) {
        Map<String, Layer> layers = byName();
        assertEquals(layers.keySet(), exported.layers().stream().map(OnnxModel.LayerValues::layer).collect(Collectors.toSet()));
        for (OnnxModel.LayerValues values : exported.layers()) {
            Layer layer = layers.get(values.layer());
            float[] expected = output(values);
            List<Tensor> inputs = values.inputs().stream().map(operand -> theirs.get(operand.value())).toList();
            close(layer.name(), run(ours, layer, values, inputs, expected.length), expected, ROUNDING);
        }
    }

    /** The layer's output by ONNX Runtime, its parts put together. */
    private float[] output(OnnxModel.LayerValues values) {
        List<float[]> parts = values.outputs().stream().map(part -> {
            Tensor tensor = theirs.get(part.value());
            float[] numbers = tensor.toArray();
            int length = tensor.shape().size(-1);
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] *= part.scales().get(i % length * part.scales().size() / length);
            }
            return numbers;
        }).toList();
        if (parts.size() == 1) {
            return parts.get(0);
        }
        int length = theirs.get(values.outputs().get(0).value()).shape().size(-1);
        float[] all = new float[parts.size() * parts.get(0).length];
        for (int i = 0; i < all.length; i++) {
            int row = i / (length * parts.size());
            int column = i % (length * parts.size());
            all[i] = parts.get(column / length)[row * length + column % length];
        }
        return all;
    }

    private float[] run(Arithmetic ours, Layer layer, OnnxModel.LayerValues values, List<Tensor> inputs, int length) {
        try (Scope scope = backend.scope()) {
            int[] sizes = theirs.get(values.outputs().get(0).value()).shape().toArray();
            switch (layer.role()) {
                case PATCH_EMBEDDING -> {
                    View patches = new Network(backend, scope, model).patches(inputs.get(0), scope);
                    View rows = scope.floats(sizes[0], patches.size(1), layer.outputs());
                    View result = scope.floats(sizes);
                    ours.linear(layer, patches.rows(), rows.rows());
                    backend.copy(rows.permute(0, 2, 1), result.reshape(sizes[0], layer.outputs(), patches.size(1)));
                    return backend.download(result).toArray();
                }
                case QUERY_KEY, PROBABILITY_VALUE -> {
                    View a = heads(layer, upload(scope, inputs.get(0)));
                    View b = heads(layer, upload(scope, inputs.get(1)));
                    View result = scope.floats(sizes);
                    ours.matmul(layer, a, layer.name().endsWith("matmul1") ? b.transpose() : b, result);
                    float[] numbers = backend.download(result).toArray();
                    return times(numbers, sizes, values.inputs());
                }
                default -> {
                    View x = upload(scope, inputs.get(0)).rows();
                    View y = scope.floats(x.size(0), length / x.size(0));
                    ours.linear(layer, x, y);
                    return backend.download(y).toArray();
                }
            }
        }
    }

    /** Multiplies results of heads {@code [.., heads, n, m]} with the scales of the operands. */
    private static float[] times(float[] numbers, int[] sizes, List<OnnxModel.Operand> operands) {
        int perHead = sizes[2] * sizes[3];
        for (OnnxModel.Operand operand : operands) {
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] *= operand.scales().get(operand.scales().size() == 1 ? 0 : i / perHead % sizes[1]);
            }
        }
        return numbers;
    }

    private View heads(Layer layer, View rows) {
        if (rows.rank() == 4) {
            return rows;
        }
        for (UnitShape unit : model.config().units()) {
            if (unit instanceof BlockShape block && layer.name().startsWith(block.name() + ".")) {
                return rows.reshape(rows.size(0) * block.windowCount(), block.windowTokens(), block.heads(), block.headDim())
                        .permute(0, 2, 1, 3);
            }
        }
        throw new IllegalArgumentException(layer.name());
    }

    private View upload(Scope scope, Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }

    private static void close(String what, float[] ours, float[] theirs, double tolerance) {
        assertEquals(ours.length, theirs.length, what);
        double largest = IntStream.range(0, ours.length).mapToDouble(i -> Math.abs(ours[i])).max().orElseThrow();
        double apart = IntStream.range(0, ours.length).mapToDouble(i -> Math.abs(ours[i] - theirs[i])).max().orElseThrow();
        assertTrue(largest > 0 && apart <= tolerance * largest, what + ": " + apart + " apart, largest " + largest);
    }
}
