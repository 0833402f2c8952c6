package io.github.ptq4vit.export;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.export.CodeOperators.Interval;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Distribution;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.InputTransform;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Products of codes. A twin is the sum of two products: each takes the numbers of one range, zero elsewhere. */
final class QuantizedProducts extends OnnxProducts {
    final CodeOperators operators;
    final OperandCodes operands;
    private final WeightCodes weights;
    private final Map<String, QuantizedLayer> layers;
    private final Float32 plain;

    QuantizedProducts(OnnxGraph graph, QuantizedModel quantized, OnnxOptions options) {
        super(graph, quantized.model());
        this.operators = new CodeOperators(graph, options.target());
        this.operands = new OperandCodes(graph, operators);
        this.weights = new WeightCodes(graph, options);
        this.layers = quantized.byName();
        this.plain = new Float32(this);
    }

    QuantizedLayer quantized(Layer layer) {
        return layers.get(layer.name());
    }

    @Override
    String linear(Layer layer, String x) {
        if (!quantized(layer).isQuantized()) {
            return plain.linear(layer, x);
        }
        String transformed = transformed(layer, x);
        String y = columns(layer.name(), layer, operand(layer, transformed), 0, layer.outputs());
        note(layer, x, List.of(new OnnxModel.Operand(transformed)), List.of(new OnnxModel.Operand(y)));
        return y;
    }

    @Override
    Attention attention(BlockShape shape, String input) {
        List<Layer> products = List.of(shape.layer(LayerRole.QKV), shape.layer(LayerRole.QUERY_KEY), shape.layer(LayerRole.PROBABILITY_VALUE));
        long quantized = products.stream().filter(layer -> quantized(layer).isQuantized()).count();
        if (quantized == 0) {
            return plain.attention(shape, input);
        }
        if (quantized < products.size()) {
            throw new ExportException(shape.name() + ".attn: of qkv, matmul1 and matmul2 some stay float32; exported are those that"
                    + " are quantised all together or not at all, so exclude all three or none");
        }
        return new QuantizedAttention(this, shape, input);
    }

    /** The numbers that are quantised instead of x. */
    String transformed(Layer layer, String x) {
        InputTransform transform = quantized(layer).input();
        String name = layer.name() + ".input";
        int[] sizes = graph.sizes(x);
        int channels = sizes[sizes.length - 1];
        String result = x;
        if (transform.factors().length > 0) {
            result = graph.add("Mul", name + ".multiplied", List.of(result, graph.vector(name + ".factors", transform.factors())));
        }
        if (transform.shift() != 0) {
            String shift = transform.factors().length == 0 ? graph.scalar(name + ".shift", transform.shift())
                    : graph.vector(name + ".shifts", transform.shifts(channels));
            result = graph.add("Add", name + ".shifted", List.of(result, shift));
        }
        return transform.hadamard() > 1 ? hadamard(name, result, sizes, transform.hadamard()) : result;
    }

    private String hadamard(String name, String x, int[] sizes, int block) {
        String constant = "hadamard" + block;
        if (!graph.has(constant)) {
            float[] matrix = new float[block * block];
            for (int i = 0; i < block; i++) {
                matrix[i * block + i] = 1;
            }
            HostOperations.hadamard(matrix, matrix.length, block);
            graph.floats(constant, Tensor.of(Shape.of(block, block), matrix));
        }
        int channels = sizes[sizes.length - 1];
        if (channels == block) {
            return graph.add("MatMul", name + ".rotated", List.of(x, constant));
        }
        // zeros keep the sizes of the leading axes
        long[] cut = new long[sizes.length + 1];
        cut[sizes.length - 1] = channels / block;
        cut[sizes.length] = block;
        long[] whole = new long[sizes.length];
        whole[sizes.length - 1] = channels;
        String blocks = graph.add("Reshape", name + ".blocks", List.of(x, graph.integers(name + ".blocks.sizes", cut)));
        String rotated = graph.add("MatMul", name + ".blocks.rotated", List.of(blocks, constant));
        return graph.add("Reshape", name + ".rotated", List.of(rotated, graph.integers(name + ".rotated.sizes", whole)));
    }

    /** The codes of a linear layer's transformed input. */
    List<OperandCodes.Part> operand(Layer layer, String x) {
        QuantizedLayer q = quantized(layer);
        int[] sizes = graph.sizes(x);
        if (q.left().isEmpty()) {
            throw new ExportException(layer.name() + ": has no quantiser for its input; exported are layers whose input is quantised");
        }
        OperandGroups groups = q.left().size() == 1 ? OperandGroups.one(q.leftGrids().get(0))
                : OperandGroups.tokens(q.leftGrids(), sizes[sizes.length - 2], q.input().prefixTokens());
        boolean gelu = layer.input() == Distribution.GELU && !q.input().changesNumbers();
        return operands.parts(layer.name() + ".input", x, groups, gelu ? Interval.GELU : Interval.ALL);
    }

    /**
     * Some outputs of a linear layer.
     *
     * @param factors what each of them is multiplied with, none for 1
     */
    String columns(String name, Layer layer, List<OperandCodes.Part> parts, int from, int to, float... factors) {
        QuantizedLayer q = quantized(layer);
        CodeValue weight = weights.matrix(name + ".weight", layer, q, from, to, factors);
        Optional<String> bias = q.biasWithoutShift(model.bias(layer), layer.outputs()).map(all -> {
            float[] own = new float[to - from];
            for (int o = 0; o < own.length; o++) {
                own[o] = all.data().get(from + o) * (factors.length == 0 ? 1 : factors[o]);
            }
            return graph.vector(name + ".bias", own);
        });
        boolean biasLast = bias.isPresent() && parts.stream().allMatch(part -> part.scales().isPresent());
        String sum = sum(biasLast ? name + ".sum" : name, parts, weight, biasLast ? Optional.empty() : bias);
        return biasLast ? graph.add("Add", name, List.of(sum, bias.get())) : sum;
    }

    /** The sum of the products of all parts with the same second operand; the bias is added to one without scales of its own. */
    String sum(String name, List<OperandCodes.Part> parts, CodeValue second, Optional<String> bias) {
        List<String> terms = new ArrayList<>();
        Optional<String> rest = bias;
        for (OperandCodes.Part part : parts) {
            String term = parts.size() == 1 ? name : name + ".part" + terms.size();
            if (part.scales().isPresent()) {
                String product = operators.product(term + ".codes", part.codes(), second, Optional.empty());
                terms.add(graph.add("Mul", term, List.of(product, graph.floats(term + ".scales", part.scales().get()))));
            } else {
                terms.add(operators.product(term, part.codes(), second, rest));
                rest = Optional.empty();
            }
        }
        return terms.size() == 1 ? terms.get(0) : graph.add("Add", name, terms);
    }

    @Override
    String convolutionInput(Layer layer, String pixels) {
        List<CodeGrid> grids = quantized(layer).leftGrids();
        if (grids.isEmpty()) {
            return pixels;
        }
        // patches are pixels in another order
        if (grids.size() > 1 || grids.get(0).ranges().size() > 1 || quantized(layer).input().changesNumbers()) {
            throw new ExportException(layer.name() + ": a convolution of twins or transformed inputs cannot be exported");
        }
        return operators.decoded(operands.parts(layer.name() + ".input", pixels, OperandGroups.one(grids.get(0)), Interval.ALL)
                .get(0).codes());
    }

    @Override
    String convolutionWeight(Layer layer) {
        return quantized(layer).isQuantized() ? weights.convolution(layer, quantized(layer)) : plain.convolutionWeight(layer);
    }
}
