package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A network as an ONNX graph of standard operators: input {@value #INPUT}, normalised images
 * {@code [batch, channels, side, side]}, output {@value #OUTPUT} {@code [batch, classes]}, both float32; the batch is free.
 */
public final class OnnxModel {
    /** Name of the input. */
    public static final String INPUT = "pixels";
    /** Name of the output. */
    public static final String OUTPUT = "logits";
    /** Version of the file format by opset, from {@link OnnxOptions#OLDEST} on. */
    private static final List<Integer> FORMATS = List.of(8, 8, 9, 9, 10, 10, 11);

    /** Bytes of weights that leave room for the graph in the 2 GiB of a protobuf message. */
    private static final long LARGEST = 2000L << 20;

    private final OnnxOptions options;
    private final OnnxGraph graph;
    private final List<LayerValues> layers;
    private final Map<String, String> metadata = new LinkedHashMap<>();

    /**
     * Where a layer is in the graph.
     *
     * @param layer timm's name
     * @param source its first operand before the layer's {@link io.github.ptq4vit.quant.InputTransform}; of a product of attention
     *     the first operand's value
     * @param inputs its operands: the transformed input, or both of a product of attention; of the patch embedding the images.
     *     Queries, keys and values are {@code [.., n, dim]}, heads not yet apart
     * @param outputs its output with bias, in consecutive parts along the last axis
     */
    public record LayerValues(String layer, String source, List<Operand> inputs, List<Operand> outputs) {
        public LayerValues {
            inputs = List.copyOf(inputs);
            outputs = List.copyOf(outputs);
        }
    }

    /**
     * A float32 value of the graph and what is missing to an operand of a layer.
     *
     * @param value its name
     * @param scales the operand is the value times these: one, or one for each of as many equal parts of the last axis
     */
    public record Operand(String value, List<Float> scales) {
        public Operand {
            scales = List.copyOf(scales);
        }

        Operand(String value, float... scales) {
            this(value, IntStream.range(0, scales.length).mapToObj(i -> scales[i]).toList());
        }

        Operand(String value) {
            this(value, 1);
        }

        Operand times(float factor) {
            return new Operand(value, scales.stream().map(scale -> scale * factor).toList());
        }
    }

    private OnnxModel(OnnxOptions options, OnnxGraph graph, OnnxProducts products) {
        this.options = options;
        this.graph = graph;
        new OnnxNetwork(graph, products, options).write();
        this.layers = products.layers();
        metadata("classes", Integer.toString(products.model.config().classes()));
        metadata("target", options.target().name().toLowerCase(Locale.ROOT));
    }

    /** A quantised model: codes between QuantizeLinear and DequantizeLinear, see {@link QuantizedProducts}. */
    public static OnnxModel of(QuantizedModel model, OnnxOptions options) {
        options.check(weightBits(model));
        requireStatic(model);
        OnnxGraph graph = new OnnxGraph(model.model().config().name());
        return new OnnxModel(options, graph, new QuantizedProducts(graph, model, options));
    }

    private static void requireStatic(QuantizedModel model) {
        for (QuantizedLayer layer : model.layers()) {
            if (layer.input().rows() == RowScale.RANGE || layer.input().columns() == RowScale.RANGE) {
                throw new ExportException(layer.name() + ": has dynamic activations, whose ranges are taken from each row at run time;"
                        + " exported are static ones: calibrate with --activations static");
            }
        }
    }

    /** A model in float32, for comparison. */
    public static OnnxModel of(VisionTransformer model, OnnxOptions options) {
        OnnxGraph graph = new OnnxGraph(model.config().name());
        return new OnnxModel(options, graph, new OnnxProducts.Float32(graph, model));
    }

    /** The smallest type that holds the codes of a model's weights for a target, int8 where the opset has no other. */
    public static OnnxOptions.WeightType weightType(QuantizedModel model, OnnxOptions.Target target, int opset) {
        boolean half = opset >= OnnxOptions.USUAL && weightBits(model) <= OnnxOptions.HALF_BYTE
                && (target != OnnxOptions.Target.TENSORRT || model.layers().stream().allMatch(WeightCodes::fitHalfBytes));
        return half ? OnnxOptions.WeightType.INT4 : OnnxOptions.WeightType.INT8;
    }

    /** Bits of a model's weights; where layers differ, the most of them. */
    private static int weightBits(QuantizedModel model) {
        return model.layers().stream().filter(layer -> layer.weightCodes().length > 0)
                .flatMap(layer -> layer.right().stream()).mapToInt(Quantizer::bits).max().orElseThrow();
    }

    /** Adds an entry to the model's metadata. */
    public OnnxModel metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /** Where the layers are, in the order of computation. */
    public List<LayerValues> layers() {
        return List.copyOf(layers);
    }

    /** Makes operands and outputs of all layers outputs of the model, to look at them. Runtimes then merge fewer operators. */
    public OnnxModel exposeLayers() {
        layers.stream().flatMap(layer -> Stream.concat(Stream.of(layer.source()), Stream.concat(layer.inputs().stream(),
                layer.outputs().stream()).map(Operand::value))).filter(value -> !value.equals(INPUT)).forEach(graph::output);
        return this;
    }

    /**
     * Writes a file, beside and then renamed.
     *
     * @throws ExportException if it cannot be written, or is too large for the format
     */
    public void write(Path file) {
        ModelProto model = build();
        long constants = model.getGraph().getInitializerList().stream().mapToLong(tensor -> tensor.getRawData().size()).sum();
        if (constants > LARGEST) {
            throw new ExportException(file + ": the weights have " + (constants >> 20) + " MiB, an ONNX file holds fewer than "
                    + (LARGEST >> 20));
        }
        OutputFile.write(file, model::writeTo);
    }

    /** The file's bytes. */
    public byte[] toBytes() {
        return build().toByteArray();
    }

    private ModelProto build() {
        ModelProto.Builder model = ModelProto.newBuilder().setIrVersion(FORMATS.get(options.opset() - OnnxOptions.OLDEST))
                .setProducerName("ptq4vit").setGraph(graph.build())
                .addOpsetImport(OperatorSetIdProto.newBuilder().setDomain("").setVersion(options.opset()));
        if (options.target() == OnnxOptions.Target.ONNXRUNTIME) {
            model.addOpsetImport(OperatorSetIdProto.newBuilder().setDomain(OnnxGraph.MICROSOFT).setVersion(1));
        }
        metadata.forEach((key, value) ->
                model.addMetadataProps(StringStringEntryProto.newBuilder().setKey(key).setValue(value)));
        return model.build();
    }
}
