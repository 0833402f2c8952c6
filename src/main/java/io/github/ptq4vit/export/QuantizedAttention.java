package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.export.CodeOperators.Interval;
import io.github.ptq4vit.export.CodeOperators.Operand;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.ToDoubleFunction;

/**
 * Attention with codes. Queries, keys and values become codes before heads are formed, so that bytes are moved. Where heads have
 * scales of their own, the weights' scales and the bias are divided by them instead of the numbers.
 */
final class QuantizedAttention implements OnnxProducts.Attention {
    private final OnnxGraph graph;
    private final QuantizedProducts products;
    private final BlockShape shape;
    private final Layer queryKey;
    private final Layer probabilityValue;
    /** What queries are multiplied with before they become codes. */
    private final float factor;
    private final Rows queries;
    private final Rows keys;
    private final Rows values;

    /**
     * Queries, keys or values.
     *
     * @param operand the numbers, {@code [.., n, dim]}, in units of the scales of their heads if those differ
     * @param codes {@code [.., heads, n, head dim]}, keys transposed
     * @param scales what products with the codes are still to be multiplied with, {@code [heads, 1, 1]}; none for 1
     */
    private record Rows(OnnxModel.Operand operand, CodeValue codes, Optional<Tensor> scales) {
    }

    QuantizedAttention(QuantizedProducts products, BlockShape shape, String input) {
        this.graph = products.graph;
        this.products = products;
        this.shape = shape;
        this.queryKey = shape.layer(LayerRole.QUERY_KEY);
        this.probabilityValue = shape.layer(LayerRole.PROBABILITY_VALUE);
        Layer qkv = shape.layer(LayerRole.QKV);
        String transformed = products.transformed(qkv, input);
        List<OperandCodes.Part> parts = products.operand(qkv, transformed);
        boolean looked = products.quantized(queryKey).leftGrids().get(0).table().isPresent();
        // of windows the queries are scaled unless bounds would have to be, else the scores
        this.factor = shape.windows().isPresent() && !looked ? shape.scoreFactor() : 1;
        this.queries = rows("q", qkv, parts, 0, products.quantized(queryKey).leftGrids(), factor);
        this.keys = rows("k", qkv, parts, 1, products.quantized(queryKey).rightGrids(), 1);
        this.values = rows("v", qkv, parts, 2, products.quantized(probabilityValue).rightGrids(), 1);
        products.note(qkv, input, List.of(new OnnxModel.Operand(transformed)), List.of(queries.operand.times(1 / factor),
                keys.operand, values.operand));
    }

    private Rows rows(String letter, Layer qkv, List<OperandCodes.Part> parts, int index, List<CodeGrid> grids, float factor) {
        String name = shape.name() + ".attn." + letter;
        if (grids.stream().anyMatch(grid -> grid.ranges().size() > 1)) {
            throw new ExportException(name + ": has quantisers of two ranges");
        }
        return grids.get(0).table().isPresent() ? levels(name, qkv, parts, index, grids) : uniform(name, qkv, parts, index, grids, factor);
    }

    private Rows levels(String name, Layer qkv, List<OperandCodes.Part> parts, int index, List<CodeGrid> grids) {
        String rows = products.columns(name, qkv, parts, index * shape.dim(), (index + 1) * shape.dim());
        OperandCodes.Part part = products.operands.levels(name, rows, OperandGroups.channels(grids, shape.dim()), operand(index)).get(0);
        float[] steps = new float[grids.size()];
        for (int head = 0; head < steps.length; head++) {
            steps[head] = grids.get(head).ranges().get(0).step();
        }
        return new Rows(new OnnxModel.Operand(rows), part.codes().moved(products.heads(shape, name, part.codes().codes(), index == 1)),
                part.scales().map(all -> Tensor.of(Shape.of(steps.length, 1, 1), steps)));
    }

    private static Operand operand(int index) {
        return index == 0 ? Operand.FIRST : Operand.SECOND;
    }

    private Rows uniform(String name, Layer qkv, List<OperandCodes.Part> parts, int index, List<CodeGrid> grids, float factor) {
        int dim = shape.dim();
        boolean byHead = grids.size() > 1;
        float[] steps = new float[byHead ? grids.size() : 1];
        for (int head = 0; head < steps.length; head++) {
            steps[head] = grids.get(head).ranges().get(0).step();
        }
        float[] factors = new float[byHead || factor != 1 ? dim : 0];
        for (int channel = 0; channel < factors.length; channel++) {
            factors[channel] = byHead ? factor / steps[channel / shape.headDim()] : factor;
        }
        String rows = products.columns(name, qkv, parts, index * dim, (index + 1) * dim, factors);
        Operand operand = operand(index);
        CodeValue codes = byHead ? products.operands.unit(name, rows, grids, 0, number -> alongChannels(grids, number), operand)
                : products.operators.quantized(name, rows, steps[0], grids.get(0).ranges().get(0).min(),
                        grids.get(0).ranges().get(0).max(), Interval.ALL, operand);
        return new Rows(byHead ? new OnnxModel.Operand(rows, steps) : new OnnxModel.Operand(rows),
                codes.moved(products.heads(shape, name, codes.codes(), index == 1)),
                byHead ? Optional.of(Tensor.of(Shape.of(steps.length, 1, 1), steps)) : Optional.empty());
    }

    private Tensor alongChannels(List<CodeGrid> grids, ToDoubleFunction<CodeGrid> number) {
        float[] numbers = new float[shape.dim()];
        for (int channel = 0; channel < numbers.length; channel++) {
            numbers[channel] = (float) number.applyAsDouble(grids.get(channel / shape.headDim()));
        }
        return Tensor.of(Shape.of(numbers.length), numbers);
    }

    @Override
    public String scores() {
        String name = shape.name() + ".attn.scores";
        float left = shape.scoreFactor() / factor;
        String product = products.operators.product(name + ".codes", queries.codes, keys.codes, Optional.empty());
        Tensor scales = Tensor.of(Shape.of(), left);
        for (Optional<Tensor> more : List.of(queries.scales, keys.scales)) {
            scales = more.isEmpty() ? scales : multiplied(scales, more.get());
        }
        String scores = graph.add("Mul", name, List.of(product, graph.floats(name + ".scales", scales)));
        products.note(queryKey, queries.operand.value(), List.of(queries.operand, keys.operand),
                List.of(new OnnxModel.Operand(scores, 1 / left)));
        return scores;
    }

    @Override
    public String context(String probabilities) {
        QuantizedLayer q = products.quantized(probabilityValue);
        String name = probabilityValue.name();
        List<OperandCodes.Part> parts = products.operands.parts(name + ".left", probabilities, OperandGroups.heads(q.leftGrids()),
                Interval.SOFTMAX);
        boolean byRow = q.input().rows() == RowScale.SUM;
        String units = byRow ? name + ".undivided" : name;
        String sum = products.sum(values.scales.isPresent() ? units + ".units" : units, parts, values.codes, Optional.empty());
        if (values.scales.isPresent()) {
            sum = graph.add("Mul", units, List.of(sum, graph.floats(units + ".scales", values.scales.get())));
        }
        if (byRow) {
            sum = graph.add("Div", name, List.of(sum, rowSums(name + ".rows", parts)));
        }
        products.note(probabilityValue, probabilities, List.of(new OnnxModel.Operand(probabilities), values.operand),
                List.of(new OnnxModel.Operand(sum)));
        return sum;
    }

    /** The sum of what the codes of each row stand for, 1 where that is 0: a product with ones. */
    private String rowSums(String name, List<OperandCodes.Part> parts) {
        byte[] ones = new byte[shape.windowTokens()];
        Arrays.fill(ones, (byte) 1);
        CodeValue column = new CodeValue(graph.bytes(name + ".ones", DataType.INT8, Shape.of(ones.length, 1), ones),
                graph.scalar(name + ".ones_scale", 1), graph.bytes(name + ".ones_zero_point", DataType.INT8, Shape.of(), (byte) 0));
        String sums = products.sum(name + ".sums", parts, column, Optional.empty());
        String empty = graph.add("Equal", name + ".empty", List.of(sums, graph.scalar(name + ".zero", 0)));
        return graph.add("Where", name + ".divisors", List.of(empty, graph.scalar(name + ".one", 1), sums));
    }

    private static Tensor multiplied(Tensor a, Tensor b) {
        float[] numbers = b.toArray();
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] *= a.data().get(a.data().limit() == 1 ? 0 : i);
        }
        return Tensor.of(b.shape(), numbers);
    }
}
