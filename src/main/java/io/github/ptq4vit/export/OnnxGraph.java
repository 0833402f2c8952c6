package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import ai.onnx.proto.OnnxMl.TensorShapeProto;
import ai.onnx.proto.OnnxMl.TypeProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import com.google.protobuf.ByteString;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * An ONNX graph while it is built: nodes in order of computation, values known by their names, each with its type and sizes. Each
 * node is named after its output.
 */
final class OnnxGraph {
    /** The name of the first axis of inputs and outputs, whose size is free. */
    static final String BATCH = "batch";
    /** The domain of ONNX Runtime's own operators. */
    static final String MICROSOFT = "com.microsoft";

    private final GraphProto.Builder graph = GraphProto.newBuilder();
    private final Map<String, OnnxShapes.Value> values = new HashMap<>();
    private final Set<String> computed = new LinkedHashSet<>();
    private final Set<String> outputs = new LinkedHashSet<>();

    OnnxGraph(String name) {
        graph.setName(name);
    }

    /** Computes a value with a standard operator; an input that is left out is the empty text. */
    String add(String operator, String output, List<String> inputs, AttributeProto... attributes) {
        return add("", operator, output, inputs, attributes);
    }

    /** Computes a value with one of ONNX Runtime's own operators. */
    String addMicrosoft(String operator, String output, List<String> inputs, AttributeProto... attributes) {
        return add(MICROSOFT, operator, output, inputs, attributes);
    }

    private String add(String domain, String operator, String output, List<String> inputs, AttributeProto... attributes) {
        Map<String, AttributeProto> byName = Arrays.stream(attributes)
                .collect(Collectors.toMap(AttributeProto::getName, Function.identity()));
        claim(output, OnnxShapes.of(operator, inputs.stream().map(this::value).toList(), byName));
        computed.add(output);
        graph.addNode(NodeProto.newBuilder().setOpType(operator).setDomain(domain).setName(output).addAllInput(inputs)
                .addOutput(output).addAllAttribute(List.of(attributes)));
        return output;
    }

    /** Cuts a value into equal parts along its last axis. */
    List<String> split(String output, String input, int parts) {
        OnnxShapes.Value value = value(input);
        int axis = value.sizes().length - 1;
        long[] lengths = new long[parts];
        Arrays.fill(lengths, value.sizes()[axis] / parts);
        String sizes = integers(output + ".sizes", lengths);
        AttributeProto attribute = attribute("axis", axis);
        OnnxShapes.Value part = OnnxShapes.of("Split", List.of(value, value(sizes)), Map.of("axis", attribute));
        List<String> names = IntStream.range(0, parts).mapToObj(i -> output + "." + i).toList();
        names.forEach(name -> claim(name, part));
        computed.addAll(names);
        graph.addNode(NodeProto.newBuilder().setOpType("Split").setName(output).addInput(input).addInput(sizes)
                .addAllOutput(names).addAttribute(attribute));
        return names;
    }

    /** Sizes of a value; -k for k times the batch. */
    int[] sizes(String name) {
        return value(name).sizes().clone();
    }

    /** A constant of float32. */
    String floats(String name, Tensor tensor) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(tensor.data().limit(), Float.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(tensor.data().duplicate());
        return constant(name, new OnnxShapes.Value(DataType.FLOAT, tensor.shape().toArray()), ByteString.copyFrom(bytes));
    }

    /** A constant number. */
    String scalar(String name, float number) {
        return floats(name, Tensor.of(Shape.of(), number));
    }

    /** Constant numbers as one row. */
    String vector(String name, float... numbers) {
        return floats(name, Tensor.of(Shape.of(numbers.length), numbers));
    }

    /** Constant integers of a type of one byte. */
    String bytes(String name, DataType type, Shape shape, byte... codes) {
        return constant(name, new OnnxShapes.Value(type, shape.toArray()), ByteString.copyFrom(codes));
    }

    /** Constant codes from -8 to 7, two in a byte, the first in the low half. */
    String halfBytes(String name, Shape shape, byte... codes) {
        byte[] packed = new byte[(codes.length + 1) / 2];
        for (int i = 0; i < codes.length; i++) {
            packed[i / 2] |= (byte) ((codes[i] & 0xf) << 4 * (i % 2));
        }
        return constant(name, new OnnxShapes.Value(DataType.INT4, shape.toArray()), ByteString.copyFrom(packed));
    }

    /** Constant integers as one row. */
    String integers(String name, long... numbers) {
        return integers(name, new int[] {numbers.length}, numbers);
    }

    /** Constant 64-bit integers. */
    String integers(String name, int[] sizes, long... numbers) {
        ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(numbers);
        return constant(name, new OnnxShapes.Value(DataType.INT64, sizes, numbers), ByteString.copyFrom(bytes));
    }

    /** Constant 32-bit integers. */
    String shortIntegers(String name, int[] sizes, int... numbers) {
        ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asIntBuffer().put(numbers);
        return constant(name, new OnnxShapes.Value(DataType.INT32, sizes), ByteString.copyFrom(bytes));
    }

    private String constant(String name, OnnxShapes.Value value, ByteString data) {
        claim(name, value);
        TensorProto.Builder tensor = TensorProto.newBuilder().setName(name).setDataType(value.type().getNumber()).setRawData(data);
        for (int size : value.sizes()) {
            tensor.addDims(size);
        }
        graph.addInitializer(tensor);
        return name;
    }

    /** Whether there is a value of this name. */
    boolean has(String name) {
        return values.containsKey(name);
    }

    /** Declares an input {@code [batch, sizes]} of float32. */
    String input(String name, int... sizes) {
        int[] all = new int[sizes.length + 1];
        all[0] = -1;
        System.arraycopy(sizes, 0, all, 1, sizes.length);
        claim(name, new OnnxShapes.Value(DataType.FLOAT, all));
        graph.addInput(info(name));
        return name;
    }

    /** Declares a computed value as an output. */
    void output(String name) {
        value(name);
        outputs.add(name);
    }

    /** The graph, with the types and sizes of all values. */
    GraphProto build() {
        GraphProto.Builder whole = graph.clone();
        outputs.forEach(name -> whole.addOutput(info(name)));
        computed.stream().filter(name -> !outputs.contains(name)).forEach(name -> whole.addValueInfo(info(name)));
        return whole.build();
    }

    static AttributeProto attribute(String name, long value) {
        return AttributeProto.newBuilder().setName(name).setType(AttributeProto.AttributeType.INT).setI(value).build();
    }

    static AttributeProto attribute(String name, float value) {
        return AttributeProto.newBuilder().setName(name).setType(AttributeProto.AttributeType.FLOAT).setF(value).build();
    }

    static AttributeProto attribute(String name, long... values) {
        AttributeProto.Builder attribute = AttributeProto.newBuilder().setName(name).setType(AttributeProto.AttributeType.INTS);
        for (long value : values) {
            attribute.addInts(value);
        }
        return attribute.build();
    }

    private ValueInfoProto info(String name) {
        OnnxShapes.Value value = value(name);
        TensorShapeProto.Builder shape = TensorShapeProto.newBuilder();
        for (int size : value.sizes()) {
            shape.addDim(size >= 0 ? TensorShapeProto.Dimension.newBuilder().setDimValue(size)
                    : TensorShapeProto.Dimension.newBuilder().setDimParam(size == -1 ? BATCH : BATCH + "_x_" + -size));
        }
        return ValueInfoProto.newBuilder().setName(name).setType(TypeProto.newBuilder().setTensorType(
                TypeProto.Tensor.newBuilder().setElemType(value.type().getNumber()).setShape(shape))).build();
    }

    private void claim(String name, OnnxShapes.Value value) {
        if (values.put(name, value) != null) {
            throw new IllegalArgumentException("Two values are called " + name);
        }
    }

    private OnnxShapes.Value value(String name) {
        if (name.isEmpty()) {
            return new OnnxShapes.Value(DataType.UNDEFINED);
        }
        if (!values.containsKey(name)) {
            throw new IllegalArgumentException("No value is called " + name);
        }
        return values.get(name);
    }
}
