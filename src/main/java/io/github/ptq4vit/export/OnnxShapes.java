package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Types and sizes of what the operators of an {@link OnnxGraph} compute. The batch is unknown; a size that is k times the batch is
 * -k.
 */
final class OnnxShapes {

    private OnnxShapes() {
    }

    /**
     * What is known of a value.
     *
     * @param type of an element
     * @param sizes along the axes; -k for k times the batch
     * @param integers the elements of a constant of integers, else empty
     */
    record Value(DataType type, int[] sizes, long[] integers) {
        Value(DataType type, int... sizes) {
            this(type, sizes, new long[0]);
        }
    }

    /** The first output of a node; an input that is left out is there as a scalar. */
    static Value of(String operator, List<Value> inputs, Map<String, AttributeProto> attributes) {
        Value x = inputs.get(0);
        return switch (operator) {
            case "Clip", "Relu", "ThresholdedRelu", "Abs", "Log", "Erf", "Tanh", "Sigmoid", "Gelu", "Softmax", "Identity", "LayerNormalization",
                    "InstanceNormalization" -> x;
            case "QuantizeLinear" -> new Value(inputs.get(2).type, x.sizes);
            case "DequantizeLinear" -> new Value(DataType.FLOAT, x.sizes);
            case "Cast" -> new Value(DataType.forNumber((int) attributes.get("to").getI()), x.sizes);
            case "Add", "Sub", "Mul", "Div", "Max", "Min", "Mean" -> new Value(x.type, broadcast(inputs));
            case "Equal", "LessOrEqual", "GreaterOrEqual" -> new Value(DataType.BOOL, broadcast(inputs));
            case "Where" -> new Value(inputs.get(1).type, broadcast(inputs));
            case "MatMul", "MatMulIntegerToFloat" -> new Value(DataType.FLOAT, product(x.sizes, inputs.get(1).sizes));
            case "Conv" -> new Value(DataType.FLOAT, convolved(x.sizes, inputs.get(1).sizes, attributes.get("strides")));
            case "Reshape" -> new Value(x.type, reshaped(x.sizes, inputs.get(1).integers));
            case "Transpose" -> new Value(x.type, attributes.get("perm").getIntsList().stream()
                    .mapToInt(axis -> x.sizes[axis.intValue()]).toArray());
            case "Split" -> new Value(x.type, with(x.sizes, axis(x, attributes), Math.toIntExact(inputs.get(1).integers[0])));
            case "Gather" -> new Value(x.type, gathered(x.sizes, inputs.get(1).sizes, axis(x, attributes)));
            case "Slice" -> new Value(x.type, with(x.sizes, Math.toIntExact(inputs.get(3).integers[0]),
                    Math.toIntExact(inputs.get(2).integers[0] - inputs.get(1).integers[0])));
            case "Pad" -> new Value(x.type, padded(x.sizes, inputs.get(1).integers));
            case "ReduceMean" -> new Value(x.type, without(x.sizes, 1));
            default -> throw new IllegalArgumentException("The sizes of " + operator + " are not known here");
        };
    }

    private static int axis(Value x, Map<String, AttributeProto> attributes) {
        int axis = attributes.containsKey("axis") ? (int) attributes.get("axis").getI() : 0;
        return axis < 0 ? axis + x.sizes.length : axis;
    }

    private static int[] broadcast(List<Value> inputs) {
        int[] result = {};
        for (Value input : inputs) {
            result = broadcast(result, input.sizes);
        }
        return result;
    }

    private static int[] broadcast(int[] a, int[] b) {
        int[] longer = a.length >= b.length ? a : b;
        int[] shorter = a.length >= b.length ? b : a;
        int[] result = longer.clone();
        for (int i = 0; i < shorter.length; i++) {
            int axis = longer.length - shorter.length + i;
            if (result[axis] == 1) {
                result[axis] = shorter[i];
            } else if (shorter[i] != 1 && shorter[i] != result[axis]) {
                throw mismatch(a, b);
            }
        }
        return result;
    }

    private static int[] product(int[] a, int[] b) {
        if (a[a.length - 1] != b[b.length - 2]) {
            throw mismatch(a, b);
        }
        int[] outer = broadcast(Arrays.copyOf(a, a.length - 2), Arrays.copyOf(b, b.length - 2));
        int[] result = Arrays.copyOf(outer, outer.length + 2);
        result[outer.length] = a[a.length - 2];
        result[outer.length + 1] = b[b.length - 1];
        return result;
    }

    private static int[] convolved(int[] image, int[] kernel, AttributeProto strides) {
        int[] result = {image[0], kernel[0], 0, 0};
        for (int i = 0; i < 2; i++) {
            result[2 + i] = (image[2 + i] - kernel[2 + i]) / (int) strides.getInts(i) + 1;
        }
        return result;
    }

    private static int[] reshaped(int[] sizes, long[] asked) {
        int[] result = new int[asked.length];
        long rest = elements(sizes);
        int open = -1;
        for (int axis = 0; axis < result.length; axis++) {
            if (asked[axis] == -1) {
                open = axis;
            } else {
                result[axis] = asked[axis] == 0 ? sizes[axis] : Math.toIntExact(asked[axis]);
                rest /= result[axis];
            }
        }
        if (open >= 0) {
            result[open] = Math.toIntExact(rest);
        }
        if (elements(result) != elements(sizes)) {
            throw mismatch(sizes, result);
        }
        return result;
    }

    /** Negative if the batch is among the factors. */
    private static long elements(int[] sizes) {
        return Arrays.stream(sizes).asLongStream().reduce(1, Math::multiplyExact);
    }

    private static int[] gathered(int[] data, int[] places, int axis) {
        List<Integer> result = new ArrayList<>();
        for (int i = 0; i < data.length; i++) {
            if (i == axis) {
                Arrays.stream(places).forEach(result::add);
            } else {
                result.add(data[i]);
            }
        }
        return result.stream().mapToInt(i -> i).toArray();
    }

    private static int[] padded(int[] sizes, long[] pads) {
        int[] result = sizes.clone();
        for (int axis = 0; axis < result.length; axis++) {
            result[axis] += Math.toIntExact(pads[axis] + pads[axis + result.length]);
        }
        return result;
    }

    private static int[] with(int[] sizes, int axis, int size) {
        int[] result = sizes.clone();
        result[axis] = size;
        return result;
    }

    private static int[] without(int[] sizes, int axis) {
        int[] result = new int[sizes.length - 1];
        System.arraycopy(sizes, 0, result, 0, axis);
        System.arraycopy(sizes, axis + 1, result, axis, result.length - axis);
        return result;
    }

    private static IllegalArgumentException mismatch(int[] a, int[] b) {
        return new IllegalArgumentException("Sizes " + Arrays.toString(a) + " and " + Arrays.toString(b) + " do not fit");
    }
}
