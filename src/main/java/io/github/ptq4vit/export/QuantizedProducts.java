package io.github.ptq4vit.export;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Products of codes, said with QuantizeLinear and DequantizeLinear before MatMul. A twin is the sum of two products: each
 * takes the values of one range, zero elsewhere. Scales of single heads are divided by before and multiplied with
 * afterwards, so that the codes between have scale 1: runtimes multiply those as integers, but not codes whose scales differ
 * along an axis that is no column of a weight.
 */
final class QuantizedProducts extends OnnxProducts {
    private static final int LAST_AXIS_OF_MATRIX = 1;

    private final Map<String, QuantizedLayer> layers;
    private final OnnxOptions.WeightType weights;

    QuantizedProducts(OnnxGraph graph, QuantizedModel quantized, OnnxOptions.WeightType weights) {
        super(graph, quantized.model());
        this.layers = quantized.byName();
        this.weights = weights;
    }

    @Override
    String linear(Layer layer, String x) {
        QuantizedLayer q = layers.get(layer.name());
        int outputs = layer.outputs();
        String weight = weight(layer, q, Shape.of(q.weightCodes().length / outputs, outputs),
                transposed(q.weightCodes(), outputs), LAST_AXIS_OF_MATRIX);
        List<String> inputs = inputs(layer, x);
        List<String> products = new ArrayList<>();
        for (int range = 0; range < inputs.size(); range++) {
            String name = inputs.size() == 1 ? unbiased(layer) : layer.name() + ".product" + range;
            products.add(graph.add("MatMul", name, List.of(inputs.get(range), weight)));
        }
        String sum = products.size() == 1 ? products.get(0) : graph.add("Add", unbiased(layer), products);
        return biased(layer, sum);
    }

    @Override
    String matmul(Layer layer, String a, String b) {
        QuantizedLayer q = layers.get(layer.name());
        List<CodeGrid> left = q.leftGrids();
        List<CodeGrid> right = q.rightGrids();
        boolean leftByHead = left.size() > 1;
        boolean rightByHead = right.size() > 1;
        int ranges = left.get(0).ranges().size();
        List<String> lefts = parts(layer.name() + ".left", a, left, leftByHead);
        String rightCodes = parts(layer.name() + ".right", b, right, rightByHead).get(0);
        List<String> products = new ArrayList<>();
        for (int range = 0; range < ranges; range++) {
            String result = ranges == 1 ? layer.name() : layer.name() + ".product" + range;
            boolean byHead = leftByHead || rightByHead;
            String product = graph.add("MatMul", byHead ? result + ".codes" : result, List.of(lefts.get(range), rightCodes));
            products.add(byHead ? graph.add("Mul", result, List.of(product, graph.floats(result + ".scales",
                    headScales(leftByHead ? left : List.of(), rightByHead ? right : List.of(), range)))) : product);
        }
        return ranges == 1 ? products.get(0) : graph.add("Add", layer.name(), products);
    }

    @Override
    String convolutionInput(Layer layer, String pixels) {
        // patches are pixels in another order
        List<String> inputs = inputs(layer, pixels);
        if (inputs.size() > 1) {
            throw new ExportException(layer.name() + ": a convolution of twins cannot be exported");
        }
        return inputs.get(0);
    }

    /** The input of a layer with weights, for each range. */
    private List<String> inputs(Layer layer, String x) {
        List<CodeGrid> grids = layers.get(layer.name()).leftGrids();
        return grids.isEmpty() ? List.of(x) : parts(layer.name() + ".input", x, grids, false);
    }

    @Override
    String convolutionWeight(Layer layer) {
        QuantizedLayer q = layers.get(layer.name());
        return weight(layer, q, layer.weight().orElseThrow(), q.weightCodes(), 0);
    }

    /** Codes of a weight as a constant, and the numbers they stand for. */
    private String weight(Layer layer, QuantizedLayer q, Shape shape, byte[] codes, int outputAxis) {
        String name = layer.name() + ".weight";
        boolean whole = q.right().size() == 1;
        float[] steps = whole ? new float[] {q.rightGrids().get(0).ranges().get(0).step()} : q.weightSteps(layer.outputs());
        String scale = whole ? graph.scalar(name + "_scale", steps[0]) : graph.vector(name + "_scale", steps);
        Shape zeros = whole ? Shape.of() : Shape.of(steps.length);
        boolean half = weights == OnnxOptions.WeightType.INT4;
        String constant = half ? graph.halfBytes(name, shape, codes) : graph.bytes(name, shape, codes);
        String zero = half ? graph.halfBytes(name + "_zero_point", zeros, new byte[steps.length])
                : graph.bytes(name + "_zero_point", zeros, new byte[steps.length]);
        return whole ? graph.add("DequantizeLinear", name + ".dequantized", List.of(constant, scale, zero))
                : graph.add("DequantizeLinear", name + ".dequantized", List.of(constant, scale, zero),
                        OnnxGraph.attribute("axis", outputAxis));
    }

    /**
     * An operand cut into its ranges, each quantised and dequantised.
     *
     * @param grids one, or one a head
     * @param unit whether to divide by the scales before, so that the codes have scale 1
     */
    private List<String> parts(String name, String x, List<CodeGrid> grids, boolean unit) {
        CodeGrid grid = grids.get(0);
        int ranges = grid.ranges().size();
        if (grids.size() > 1 && ranges > 1) {
            throw new ExportException(name + ": has twin scales for " + grids.size()
                    + " heads; exported are twins with one pair for all");
        }
        List<String> values = ranges == 1 ? List.of(x) : twins(name, x, grid);
        List<String> results = new ArrayList<>();
        for (int range = 0; range < ranges; range++) {
            CodeRange r = grid.ranges().get(range);
            String part = ranges == 1 ? name : name + range;
            String value = unit ? graph.add("Div", part + ".scaled", List.of(values.get(range),
                    graph.floats(part + ".divisor", alongHeads(grids, range)))) : values.get(range);
            results.add(roundTrip(part, value, CodeRange.unlimited(unit ? 1 : r.step(), r.min(), r.max())));
        }
        return results;
    }

    /**
     * Of each element the value in one of the two ranges, and zero in the other. Ranges with limits are those of softmax, whose
     * values are not negative; those without are cut by clipping their codes.
     */
    private List<String> twins(String name, String x, CodeGrid grid) {
        CodeRange first = grid.ranges().get(0);
        if (!grid.nearest() && first.isUnlimited()) {
            return List.of(x, x);
        }
        if (!grid.nearest()) {
            // the values from the threshold on, then what is left; both exact
            float below = Math.nextDown(first.to());
            String second = graph.add("ThresholdedRelu", name + ".second", List.of(x), OnnxGraph.attribute("alpha", below));
            return List.of(graph.add("Sub", name + ".first", List.of(x, second)), second);
        }
        List<String> errors = new ArrayList<>();
        for (int range = 0; range < 2; range++) {
            CodeRange r = grid.ranges().get(range);
            String tried = name + ".try" + range;
            String point = roundTrip(tried, x, CodeRange.unlimited(r.step(), r.min(), r.max()));
            errors.add(graph.add("Abs", tried + ".error", List.of(graph.add("Sub", tried + ".difference", List.of(x, point)))));
        }
        String takesFirst = graph.add("LessOrEqual", name + ".takes_first", errors);
        String zero = graph.scalar(name + ".zero", 0);
        return List.of(graph.add("Where", name + ".first", List.of(takesFirst, x, zero)),
                graph.add("Where", name + ".second", List.of(takesFirst, zero, x)));
    }

    /** Clips where signed bytes would not, then there and back. */
    private String roundTrip(String name, String x, CodeRange range) {
        String value = x;
        boolean low = range.min() > Byte.MIN_VALUE;
        boolean high = range.max() < Byte.MAX_VALUE;
        if (low && !high && range.min() == 0) {
            value = graph.add("Relu", name + ".clipped", List.of(x));
        } else if (low || high) {
            List<String> inputs = new ArrayList<>(List.of(x, low ? graph.scalar(name + ".min", range.min() * range.step()) : ""));
            if (high) {
                inputs.add(graph.scalar(name + ".max", range.max() * range.step()));
            }
            value = graph.add("Clip", name + ".clipped", inputs);
        }
        String scale = graph.scalar(name + "_scale", range.step());
        String zero = graph.bytes(name + "_zero_point", Shape.of(), (byte) 0);
        String codes = graph.add("QuantizeLinear", name + ".quantized", List.of(value, scale, zero));
        return graph.add("DequantizeLinear", name + ".dequantized", List.of(codes, scale, zero));
    }

    /** The product of those scales that were divided by, {@code [heads, 1, 1]}. */
    private static Tensor headScales(List<CodeGrid> left, List<CodeGrid> right, int range) {
        if (left.isEmpty() || right.isEmpty()) {
            return left.isEmpty() ? alongHeads(right, 0) : alongHeads(left, range);
        }
        float[] scales = alongHeads(left, range).toArray();
        for (int head = 0; head < scales.length; head++) {
            scales[head] *= right.get(head).ranges().get(0).step();
        }
        return Tensor.of(Shape.of(scales.length, 1, 1), scales);
    }

    private static Tensor alongHeads(List<CodeGrid> grids, int range) {
        float[] steps = new float[grids.size()];
        for (int head = 0; head < steps.length; head++) {
            steps[head] = grids.get(head).ranges().get(range).step();
        }
        return Tensor.of(Shape.of(steps.length, 1, 1), steps);
    }

    private static byte[] transposed(byte[] codes, int outputs) {
        int inputs = codes.length / outputs;
        byte[] result = new byte[codes.length];
        for (int i = 0; i < codes.length; i++) {
            result[i % inputs * outputs + i / inputs] = codes[i];
        }
        return result;
    }
}
