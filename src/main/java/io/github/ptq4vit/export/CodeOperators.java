package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import io.github.ptq4vit.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Numbers to codes, codes to numbers and products of codes, in the operators of a target. */
final class CodeOperators {
    /** How far, in codes, a number may lie beyond a bound and still be rounded to it: a half, less what float32 rounding adds. */
    private static final double MARGIN = 0.49;
    private static final int MIDDLE = 128;
    private static final int LARGEST = 255;

    private final OnnxGraph graph;
    private final OnnxOptions.Target target;

    CodeOperators(OnnxGraph graph, OnnxOptions.Target target) {
        this.graph = graph;
        this.target = target;
    }

    /**
     * Which numbers an operand can have, so that bounds that no number reaches need no operator.
     *
     * @param low none is smaller
     * @param high none is larger
     */
    record Interval(double low, double high) {
        /** Any. */
        static final Interval ALL = new Interval(Double.NEGATIVE_INFINITY, Double.POSITIVE_INFINITY);
        /** Probabilities, rounded. */
        static final Interval SOFTMAX = new Interval(0, 1.0001);
        /** Outputs of GELU, rounded. */
        static final Interval GELU = new Interval(-0.1699714, Double.POSITIVE_INFINITY);

        Interval upTo(double other) {
            return new Interval(low, other);
        }
    }

    /** Which operand of a product codes are. */
    enum Operand {
        /** Unsigned bytes where a target knows them: processors multiply them with signed ones fastest. */
        FIRST,
        /** Signed bytes. */
        SECOND
    }

    boolean symmetric() {
        return target == OnnxOptions.Target.TENSORRT;
    }

    /** {@code clamp(round(x / scale), min, max)}. */
    CodeValue quantized(String name, String x, float scale, int min, int max, Interval known, Operand operand) {
        boolean unsigned = operand == Operand.FIRST && !symmetric();
        // where possible the ends of the type do what is left of clipping
        int zero = !unsigned ? 0 : min >= 0 ? 0 : max <= 0 ? LARGEST : MIDDLE;
        int first = unsigned ? -zero : Byte.MIN_VALUE;
        int last = unsigned ? LARGEST - zero : Byte.MAX_VALUE;
        boolean low = min > first && known.low / scale < min - MARGIN;
        boolean high = max < last && known.high / scale > max + MARGIN;
        DataType type = unsigned ? DataType.UINT8 : DataType.INT8;
        String scales = graph.scalar(name + "_scale", scale);
        String zeros = graph.bytes(name + "_zero_point", type, Shape.of(), (byte) zero);
        String value = x;
        if (symmetric() && (low || high)) {
            value = clip(name + ".clipped", x, low ? graph.scalar(name + ".min", min * scale) : "",
                    high ? graph.scalar(name + ".max", max * scale) : "");
        }
        String codes = graph.add("QuantizeLinear", name + ".quantized", List.of(value, scales, zeros));
        if (!symmetric() && (low || high)) {
            codes = clip(name + ".codes", codes, low ? graph.bytes(name + ".min", type, Shape.of(), (byte) (min + zero)) : "",
                    high ? graph.bytes(name + ".max", type, Shape.of(), (byte) (max + zero)) : "");
        }
        return new CodeValue(codes, scales, zeros);
    }

    /** Codes from a table; where a target gathers no bytes, as numbers that are quantised without error. */
    CodeValue lookedUp(String name, String places, float scale, Operand operand, byte... table) {
        if (symmetric()) {
            float[] numbers = new float[table.length];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = table[i] * scale;
            }
            String found = graph.add("Gather", name + ".numbers", List.of(graph.vector(name + ".table", numbers), places));
            return quantized(name, found, scale, Byte.MIN_VALUE, Byte.MAX_VALUE, Interval.ALL, operand);
        }
        byte zero = (byte) (operand == Operand.FIRST ? MIDDLE : 0);
        byte[] stored = table.clone();
        for (int i = 0; i < stored.length; i++) {
            stored[i] += zero;
        }
        DataType type = operand == Operand.FIRST ? DataType.UINT8 : DataType.INT8;
        String codes = graph.add("Gather", name + ".quantized", List.of(graph.bytes(name + ".table", type, Shape.of(table.length), stored),
                places));
        return new CodeValue(codes, graph.scalar(name + "_scale", scale), graph.bytes(name + "_zero_point", type, Shape.of(), zero));
    }

    private String clip(String name, String x, String low, String high) {
        List<String> inputs = new ArrayList<>(List.of(x, low));
        if (!high.isEmpty()) {
            inputs.add(high);
        }
        return graph.add("Clip", name, inputs);
    }

    /** The numbers that codes stand for. */
    String decoded(CodeValue value) {
        String name = value.codes() + ".dequantized";
        if (graph.has(name)) {
            return name;
        }
        List<String> inputs = List.of(value.codes(), value.scale(), value.zeroPoint());
        return value.axis().isEmpty() ? graph.add("DequantizeLinear", name, inputs)
                : graph.add("DequantizeLinear", name, inputs, OnnxGraph.attribute("axis", value.axis().getAsInt()));
    }

    /** The product of what codes stand for; scales of the second operand may be along its last axis. */
    String product(String name, CodeValue a, CodeValue b, Optional<String> bias) {
        if (target == OnnxOptions.Target.ONNXRUNTIME) {
            List<String> inputs = new ArrayList<>(List.of(a.codes(), b.codes(), a.scale(), b.scale(), a.zeroPoint(), b.zeroPoint()));
            bias.ifPresent(inputs::add);
            return graph.addMicrosoft("MatMulIntegerToFloat", name, inputs);
        }
        String product = graph.add("MatMul", bias.isPresent() ? name + ".product" : name, List.of(decoded(a), decoded(b)));
        return bias.isPresent() ? graph.add("Add", name, List.of(product, bias.get())) : product;
    }
}
