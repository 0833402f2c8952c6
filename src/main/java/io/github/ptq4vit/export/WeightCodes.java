package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/** Weights as constants of codes. */
final class WeightCodes {
    private static final int LARGEST_HALF_BYTE = 7;
    private static final int SMALLEST_HALF_BYTE = -8;

    private final OnnxGraph graph;
    private final OnnxOptions options;

    WeightCodes(OnnxGraph graph, OnnxOptions options) {
        this.graph = graph;
        this.options = options;
    }

    /**
     * The codes of some outputs as the second operand of a product, {@code [inputs, outputs]}.
     *
     * @param factors what the scale of each output is multiplied with, none for 1
     */
    CodeValue matrix(String name, Layer layer, QuantizedLayer q, int from, int to, float... factors) {
        int inputs = q.weightCodes().length / layer.outputs();
        int outputs = to - from;
        boolean half = options.weights() == OnnxOptions.WeightType.INT4;
        boolean looked = half && isLookedUp(q);
        int[] shifts = looked ? new int[outputs] : shifts(q, from, to, inputs);
        byte[] codes = new byte[inputs * outputs];
        for (int o = 0; o < outputs; o++) {
            for (int i = 0; i < inputs; i++) {
                codes[i * outputs + o] = (byte) (q.weightCodes()[(from + o) * inputs + i] - shifts[o]);
            }
        }
        float[] steps = Arrays.copyOfRange(q.weightSteps(layer.outputs()), from, to);
        for (int o = 0; o < outputs && factors.length > 0; o++) {
            steps[o] *= factors[o];
        }
        boolean whole = q.right().size() == 1 && factors.length == 0 && Arrays.stream(shifts).allMatch(shift -> shift == 0);
        Shape sizes = whole ? Shape.of() : Shape.of(outputs);
        String scale = whole ? graph.scalar(name + "_scale", steps[0]) : graph.vector(name + "_scale", steps);
        byte[] zeros = new byte[whole ? 1 : outputs];
        for (int o = 0; o < zeros.length; o++) {
            zeros[o] = (byte) -shifts[o];
        }
        if (looked) {
            return new CodeValue(lookedUp(name, q, Shape.of(inputs, outputs), codes), scale, constant(name + "_zero_point", false, sizes, zeros),
                    whole ? OptionalInt.empty() : OptionalInt.of(1));
        }
        String constant = constant(name, half, Shape.of(inputs, outputs), codes);
        // products of bytes need bytes; this is done once, when the model is loaded
        boolean widened = half && options.target() == OnnxOptions.Target.ONNXRUNTIME;
        String value = widened ? graph.add("Cast", name + ".bytes", List.of(constant),
                OnnxGraph.attribute("to", DataType.INT8.getNumber())) : constant;
        return new CodeValue(value, scale, constant(name + "_zero_point", half && !widened, sizes, zeros),
                whole ? OptionalInt.empty() : OptionalInt.of(1));
    }

    /**
     * What the codes of a convolution's weight stand for, {@code [outputs, channels, side, side]}, in a form that is calculated when
     * the model is loaded: runtimes leave a DequantizeLinear for later, and convolve faster with a constant.
     */
    String convolution(Layer layer, QuantizedLayer q) {
        String name = layer.name() + ".weight";
        int outputs = layer.outputs();
        Shape shape = layer.weight().orElseThrow();
        int inputs = q.weightCodes().length / outputs;
        boolean half = options.weights() == OnnxOptions.WeightType.INT4;
        boolean looked = half && isLookedUp(q);
        int[] shifts = looked ? new int[outputs] : shifts(q, 0, outputs, inputs);
        byte[] codes = q.weightCodes().clone();
        for (int i = 0; i < codes.length; i++) {
            codes[i] -= (byte) shifts[i / inputs];
        }
        String constant = looked ? lookedUp(name, q, shape, codes) : constant(name, half, shape, codes);
        String numbers = graph.add("Cast", name + ".numbers", List.of(constant), OnnxGraph.attribute("to", DataType.FLOAT.getNumber()));
        Shape along = Shape.of(outputs, 1, 1, 1);
        if (Arrays.stream(shifts).anyMatch(shift -> shift != 0)) {
            float[] added = new float[outputs];
            for (int o = 0; o < outputs; o++) {
                added[o] = shifts[o];
            }
            numbers = graph.add("Add", name + ".shifted", List.of(numbers, graph.floats(name + ".shifts", Tensor.of(along, added))));
        }
        String scale = graph.floats(name + "_scale", Tensor.of(along, q.weightSteps(outputs)));
        return graph.add("Mul", name + ".dequantized", List.of(numbers, scale));
    }

    /** Whether half bytes are places in a table. */
    private boolean isLookedUp(QuantizedLayer q) {
        boolean companded = q.right().get(0) instanceof Quantizer.Companded;
        if (companded && options.target() == OnnxOptions.Target.TENSORRT) {
            throw new ExportException(q.name() + ": has companded weights, which half bytes hold as places in a table, not as the constants"
                    + " that TensorRT wants; store weights as int8");
        }
        return companded;
    }

    /** Bytes that are looked up by half bytes, once, when the model is loaded; all outputs have one table. */
    private String lookedUp(String name, QuantizedLayer q, Shape shape, byte... codes) {
        CodeTable table = q.right().get(0).grid().table().orElseThrow();
        byte[] levels = new byte[table.levels()];
        byte[] places = new byte[codes.length];
        for (int level = 0; level < levels.length; level++) {
            levels[level] = (byte) table.code(0, level);
        }
        for (int i = 0; i < codes.length; i++) {
            places[i] = (byte) (Arrays.binarySearch(levels, codes[i]) + SMALLEST_HALF_BYTE);
        }
        String signed = graph.add("Cast", name + ".signed_places", List.of(graph.halfBytes(name + ".half_bytes", shape, places)),
                OnnxGraph.attribute("to", DataType.INT32.getNumber()));
        String shifted = graph.add("Add", name + ".places", List.of(signed, graph.shortIntegers(name + ".first_place", new int[0],
                -SMALLEST_HALF_BYTE)));
        return graph.add("Gather", name + ".bytes", List.of(graph.bytes(name + ".levels", DataType.INT8, Shape.of(levels.length), levels),
                shifted));
    }

    /** Whether codes fit half bytes as they are. */
    static boolean fitHalfBytes(QuantizedLayer q) {
        for (byte code : q.weightCodes()) {
            if (code < SMALLEST_HALF_BYTE || code > LARGEST_HALF_BYTE) {
                return false;
            }
        }
        return true;
    }

    private String constant(String name, boolean half, Shape shape, byte... codes) {
        return half ? graph.halfBytes(name, shape, codes) : graph.bytes(name, DataType.INT8, shape, codes);
    }

    /** What has to be taken off the codes of each output for them to fit half bytes. */
    private int[] shifts(QuantizedLayer q, int from, int to, int inputs) {
        int[] shifts = new int[to - from];
        for (int o = from; o < to && options.weights() == OnnxOptions.WeightType.INT4; o++) {
            int smallest = 0;
            int largest = 0;
            for (int i = o * inputs; i < (o + 1) * inputs; i++) {
                smallest = Math.min(smallest, q.weightCodes()[i]);
                largest = Math.max(largest, q.weightCodes()[i]);
            }
            shifts[o - from] = Math.max(0, largest - LARGEST_HALF_BYTE) + Math.min(0, smallest - SMALLEST_HALF_BYTE);
            if (shifts[o - from] != 0 && options.target() == OnnxOptions.Target.TENSORRT) {
                throw new ExportException(q.name() + ": has weight codes from " + smallest + " to " + largest
                        + ", which int4 without zero point does not hold; store weights as int8");
            }
        }
        return shifts;
    }
}
