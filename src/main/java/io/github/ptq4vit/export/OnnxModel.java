package io.github.ptq4vit.export;

import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.Quantizer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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
    private static final List<Integer> FORMATS = List.of(9, 10, 10, 11);

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
     * @param inputs names of its float32 operands: the input, or both of a product of attention, the second with its last two
     *     axes as the product takes them; of the patch embedding the images
     * @param output name of its output with bias
     */
    public record LayerValues(String layer, List<String> inputs, String output) {
    }

    private OnnxModel(OnnxOptions options, OnnxGraph graph, OnnxProducts products) {
        this.options = options;
        this.graph = graph;
        this.layers = new OnnxNetwork(graph, products).write();
    }

    /** A quantised model: codes between QuantizeLinear and DequantizeLinear, see {@link QuantizedProducts}. */
    public static OnnxModel of(QuantizedModel model, OnnxOptions options) {
        options.check(weightBits(model));
        OnnxGraph graph = new OnnxGraph(model.model().config().name());
        return new OnnxModel(options, graph, new QuantizedProducts(graph, model, options.weights()));
    }

    /** A model in float32, for comparison. */
    public static OnnxModel of(VisionTransformer model, OnnxOptions options) {
        OnnxGraph graph = new OnnxGraph(model.config().name());
        return new OnnxModel(options, graph, new OnnxProducts.Float32(graph, model));
    }

    /** Bits of a model's weights; where layers differ, the most of them. */
    public static int weightBits(QuantizedModel model) {
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
        layers.stream().flatMap(layer -> Stream.concat(layer.inputs().stream(), Stream.of(layer.output()))).distinct()
                .filter(value -> !value.equals(INPUT)).forEach(graph::output);
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
        metadata.forEach((key, value) ->
                model.addMetadataProps(StringStringEntryProto.newBuilder().setKey(key).setValue(value)));
        return model.build();
    }
}
