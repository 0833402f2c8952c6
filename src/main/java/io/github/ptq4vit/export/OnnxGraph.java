package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.TensorShapeProto;
import ai.onnx.proto.OnnxMl.TypeProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import com.google.protobuf.ByteString;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * An ONNX graph while it is built: nodes in order of computation, values known by their names. Each node has one output
 * and is named after it.
 */
final class OnnxGraph {
    /** The name of the first axis of inputs and outputs, whose size is free. */
    static final String BATCH = "batch";

    private final GraphProto.Builder graph = GraphProto.newBuilder();
    private final Set<String> names = new HashSet<>();

    OnnxGraph(String name) {
        graph.setName(name);
    }

    /** Computes a value. */
    String add(String operator, String output, List<String> inputs, AttributeProto... attributes) {
        claim(output);
        graph.addNode(NodeProto.newBuilder().setOpType(operator).setName(output).addAllInput(inputs).addOutput(output)
                .addAllAttribute(List.of(attributes)));
        return output;
    }

    /** Cuts a value into equal parts along an axis. */
    List<String> split(String output, String input, int axis, int parts) {
        List<String> outputs = IntStream.range(0, parts).mapToObj(i -> output + "." + i).toList();
        outputs.forEach(this::claim);
        graph.addNode(NodeProto.newBuilder().setOpType("Split").setName(output).addInput(input).addAllOutput(outputs)
                .addAttribute(attribute("axis", axis)).addAttribute(attribute("num_outputs", parts)));
        return outputs;
    }

    /** A constant of float32. */
    String floats(String name, Tensor tensor) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(tensor.data().limit(), Float.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(tensor.data().duplicate());
        return constant(name, TensorProto.DataType.FLOAT, tensor.shape(), ByteString.copyFrom(bytes));
    }

    /** A constant number. */
    String scalar(String name, float number) {
        return floats(name, Tensor.of(Shape.of(), number));
    }

    /** Constant numbers as one row. */
    String vector(String name, float... numbers) {
        return floats(name, Tensor.of(Shape.of(numbers.length), numbers));
    }

    /** Constant signed bytes. */
    String bytes(String name, Shape shape, byte... codes) {
        return constant(name, TensorProto.DataType.INT8, shape, ByteString.copyFrom(codes));
    }

    /** Constant codes from -8 to 7, two in a byte, the first in the low half. */
    String halfBytes(String name, Shape shape, byte... codes) {
        byte[] packed = new byte[(codes.length + 1) / 2];
        for (int i = 0; i < codes.length; i++) {
            packed[i / 2] |= (byte) ((codes[i] & 0xf) << 4 * (i % 2));
        }
        return constant(name, TensorProto.DataType.INT4, shape, ByteString.copyFrom(packed));
    }

    /** Constant integers as one row. */
    String integers(String name, long... numbers) {
        ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(numbers);
        return constant(name, TensorProto.DataType.INT64, Shape.of(numbers.length), ByteString.copyFrom(bytes));
    }

    /** A constant integer without axes. */
    String index(String name, long number) {
        ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(0, number);
        return constant(name, TensorProto.DataType.INT64, Shape.of(), ByteString.copyFrom(bytes));
    }

    private String constant(String name, TensorProto.DataType type, Shape shape, ByteString data) {
        claim(name);
        TensorProto.Builder tensor = TensorProto.newBuilder().setName(name).setDataType(type.getNumber()).setRawData(data);
        for (int size : shape.toArray()) {
            tensor.addDims(size);
        }
        graph.addInitializer(tensor);
        return name;
    }

    /** Declares an input {@code [batch, sizes]} of float32. */
    String input(String name, int... sizes) {
        claim(name);
        graph.addInput(value(name, sizes));
        return name;
    }

    /** Declares a computed value {@code [batch, sizes]} of float32 as an output. */
    void output(String name, int... sizes) {
        require(name);
        graph.addOutput(value(name, sizes));
    }

    /** Declares a computed value of float32 as an output without saying its sizes. */
    void output(String name) {
        require(name);
        graph.addOutput(ValueInfoProto.newBuilder().setName(name).setType(TypeProto.newBuilder()
                .setTensorType(TypeProto.Tensor.newBuilder().setElemType(TensorProto.DataType.FLOAT_VALUE))));
    }

    GraphProto build() {
        return graph.build();
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

    private static ValueInfoProto value(String name, int... sizes) {
        TensorShapeProto.Builder shape = TensorShapeProto.newBuilder()
                .addDim(TensorShapeProto.Dimension.newBuilder().setDimParam(BATCH));
        for (int size : sizes) {
            shape.addDim(TensorShapeProto.Dimension.newBuilder().setDimValue(size));
        }
        return ValueInfoProto.newBuilder().setName(name).setType(TypeProto.newBuilder().setTensorType(TypeProto.Tensor.newBuilder()
                .setElemType(TensorProto.DataType.FLOAT_VALUE).setShape(shape))).build();
    }

    private void claim(String name) {
        if (!names.add(name)) {
            throw new IllegalArgumentException("Two values are called " + name);
        }
    }

    private void require(String name) {
        if (!names.contains(name)) {
            throw new IllegalArgumentException("No value is called " + name);
        }
    }
}
