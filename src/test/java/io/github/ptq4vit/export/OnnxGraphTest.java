package io.github.ptq4vit.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.TensorShapeProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import com.google.protobuf.InvalidProtocolBufferException;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Pooling;
import io.github.ptq4vit.model.PrefixTokens;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What stands in an exported file, read back. */
class OnnxGraphTest {
    static Stream<Arguments> exports() {
        return OnnxLayersTest.architectures().stream().flatMap(config -> Stream.of(OnnxOptions.Target.values())
                .map(target -> Arguments.of(config, target)));
    }

    @ParameterizedTest
    @MethodSource("exports")
    void everyValueHasTypeAndSizesAndEveryConstantIsUsed(Architecture config, OnnxOptions.Target target)
            throws InvalidProtocolBufferException {
        GraphProto graph = graph(config, target);
        Set<String> described = new HashSet<>();
        Stream.of(graph.getInputList(), graph.getOutputList(), graph.getValueInfoList()).flatMap(List::stream).forEach(value -> {
            TensorShapeProto shape = value.getType().getTensorType().getShape();
            assertTrue(value.getType().getTensorType().getElemType() > 0, value.getName());
            for (int axis = 0; axis < shape.getDimCount(); axis++) {
                assertEquals(axis == 0 && ofImages(graph, value), shape.getDim(axis).getDimParam().startsWith("batch"), value.toString());
            }
            described.add(value.getName());
        });
        Set<String> used = new HashSet<>();
        for (NodeProto node : graph.getNodeList()) {
            assertTrue(described.containsAll(node.getOutputList()), node.getName());
            used.addAll(node.getInputList());
        }
        for (TensorProto constant : graph.getInitializerList()) {
            assertTrue(used.contains(constant.getName()), constant.getName());
        }
    }

    /** Constants may be calculated from constants. */
    private static boolean ofImages(GraphProto graph, ValueInfoProto value) {
        Set<String> ofImages = new HashSet<>(Set.of(OnnxModel.INPUT));
        graph.getNodeList().stream().filter(node -> node.getInputList().stream().anyMatch(ofImages::contains))
                .forEach(node -> ofImages.addAll(node.getOutputList()));
        return ofImages.contains(value.getName());
    }

    @ParameterizedTest
    @MethodSource("exports")
    void whereCodesStandThereIsNoFloatWeight(Architecture config, OnnxOptions.Target target) throws InvalidProtocolBufferException {
        GraphProto graph = graph(config, target);
        for (TensorProto constant : graph.getInitializerList()) {
            boolean codes = constant.getName().matches(".*\\.(qkv|q|k|v|proj|fc1|fc2|reduction)\\.weight|head.*\\.weight");
            assertFalse(codes && constant.getDataType() == TensorProto.DataType.FLOAT_VALUE, constant.getName());
        }
    }

    @Test
    void theFileIsHardlyLargerThanCodesAndFloatTensors() {
        VitConfig config = new VitConfig("vit", 32, 8, 3, 384, 2, 6, 1536, 100, new PrefixTokens(true, false, 0, true),
                Pooling.CLASS_TOKEN, 1, false, 0, 1e-6f);
        QuantizedModel model = QuantizedBySize.of(RandomVit.of(config, 1), new BitWidths(4, 8), TwinRule.FREE);
        long codes = model.layers().stream().mapToLong(layer -> layer.weightCodes().length).sum();
        long floats = config.unquantizedTensors().values().stream().mapToLong(Shape::elements).sum();
        for (OnnxOptions.Target target : OnnxOptions.Target.values()) {
            for (OnnxOptions.WeightType type : OnnxOptions.WeightType.values()) {
                long size = OnnxModel.of(model, new OnnxOptions(OnnxOptions.USUAL, type, target)).toBytes().length;
                long least = (type == OnnxOptions.WeightType.INT4 ? codes / 2 : codes) + Float.BYTES * floats;
                assertTrue(size > least && size < 1.05 * least, target + " " + type + ": " + size + ", at least " + least);
            }
        }
    }

    @Test
    void sizesThatDoNotFitAreRefusedWhileTheGraphIsBuilt() {
        OnnxGraph graph = new OnnxGraph("small");
        String x = graph.input("x", 3, 4);
        String weight = graph.floats("w", Tensor.zeros(5, 6));
        assertThrows(IllegalArgumentException.class, () -> graph.add("MatMul", "y", List.of(x, weight)));
        assertThrows(IllegalArgumentException.class, () -> graph.add("Relu", "w", List.of(x)));
        assertThrows(IllegalArgumentException.class, () -> graph.add("Relu", "z", List.of("nothing")));
    }

    private static GraphProto graph(Architecture config, OnnxOptions.Target target) throws InvalidProtocolBufferException {
        QuantizedModel model = QuantizedBySize.of(RandomVit.of(config, 3), new BitWidths(6, 6), TwinRule.FREE);
        return ModelProto.parseFrom(OnnxModel.of(model, new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8, target)).toBytes())
                .getGraph();
    }
}
