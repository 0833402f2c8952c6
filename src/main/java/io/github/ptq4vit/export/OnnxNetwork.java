package io.github.ptq4vit.export;

import static io.github.ptq4vit.export.OnnxGraph.attribute;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.MergingShape;
import io.github.ptq4vit.model.Pooling;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.model.Windows;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/** Writes a network into a graph, step by step as {@link io.github.ptq4vit.model.Network} computes it. */
final class OnnxNetwork {
    private static final int LAST = -1;
    /** The first opset in which the axes of ReduceMean are an input. */
    private static final int AXES_AS_INPUT = 18;

    private final OnnxGraph graph;
    private final VisionTransformer model;
    private final Architecture config;
    private final OnnxProducts products;
    private final OnnxOptions options;

    OnnxNetwork(OnnxGraph graph, OnnxProducts products, OnnxOptions options) {
        this.graph = graph;
        this.products = products;
        this.options = options;
        this.model = products.model;
        this.config = model.config();
    }

    /** From the input to the output. */
    void write() {
        String pixels = graph.input(OnnxModel.INPUT, config.channels(), config.imageSize(), config.imageSize());
        String tokens = embed(pixels);
        for (UnitShape unit : config.units()) {
            tokens = unit instanceof BlockShape block ? block(block, tokens) : merge((MergingShape) unit, tokens);
        }
        classify(pool(tokens));
        graph.output(OnnxModel.OUTPUT);
    }

    private String embed(String pixels) {
        Layer layer = config.embedding();
        String map = products.embedding(layer, pixels);
        String rows = graph.add("Reshape", "patches.flat",
                List.of(map, graph.integers("patches.sizes", 0, config.dim(), LAST)));
        String patches = graph.add("Transpose", "patches", List.of(rows), attribute("perm", 0, 2, 1));
        if (!(config instanceof VitConfig vit)) {
            return norm("patch_embed.norm", patches);
        }
        // the tokens in front become zeros first; they and all positions are then added at once
        int prefix = vit.prefix().count();
        String padded = prefix == 0 ? patches
                : graph.add("Pad", "tokens.padded", List.of(patches, graph.integers("tokens.pads", 0, prefix, 0, 0, 0, 0)));
        return graph.add("Add", "tokens", List.of(padded, graph.floats("positions", positions(vit))));
    }

    /** Tokens in front and positions, {@code [tokens, dim]}. */
    private Tensor positions(VitConfig vit) {
        int dim = vit.dim();
        Tensor sum = Tensor.zeros(vit.tokens(), dim);
        int next = 0;
        for (String name : List.of("cls_token", "dist_token", "reg_token")) {
            if (vit.outerTensors().containsKey(name)) {
                Tensor tokens = model.tensor(name);
                sum.data().put(next, tokens.data(), 0, tokens.data().limit());
                next += tokens.data().limit();
            }
        }
        Tensor positions = model.tensor("pos_embed");
        int without = (vit.tokens() - vit.positions()) * dim;
        for (int i = 0; i < positions.data().limit(); i++) {
            sum.data().put(without + i, sum.data().get(without + i) + positions.data().get(i));
        }
        return sum;
    }

    private String block(BlockShape shape, String input) {
        Map<LayerRole, Layer> byRole = shape.layers().stream().collect(Collectors.toMap(Layer::role, Function.identity()));
        String attended = attention(shape, byRole, norm(shape.name() + ".norm1", input));
        String middle = graph.add("Add", shape.name() + ".middle", List.of(input, scaled(shape, 1, attended)));
        String hidden = products.linear(byRole.get(LayerRole.FC1), norm(shape.name() + ".norm2", middle));
        String mlp = products.linear(byRole.get(LayerRole.FC2), activated(shape, hidden));
        return graph.add("Add", shape.name(), List.of(middle, scaled(shape, 2, mlp)));
    }

    private String activated(BlockShape shape, String x) {
        String name = shape.name() + ".mlp.act";
        return switch (shape.activation()) {
            case GELU -> gelu(name, x);
            case SWIGLU -> {
                List<String> halves = graph.split(name + ".halves", x, 2);
                String silu = graph.add("Mul", name + ".silu", List.of(halves.get(0),
                        graph.add("Sigmoid", name + ".sigmoid", List.of(halves.get(0)))));
                yield graph.add("Mul", name, List.of(silu, halves.get(1)));
            }
        };
    }

    private String gelu(String name, String x) {
        if (options.opset() >= OnnxOptions.GELU) {
            return graph.add("Gelu", name, List.of(x));
        }
        String scaled = graph.add("Div", name + ".scaled", List.of(x, graph.scalar(name + ".root_of_two", (float) Math.sqrt(2))));
        String erf = graph.add("Add", name + ".erf_and_one", List.of(graph.add("Erf", name + ".erf", List.of(scaled)),
                graph.scalar(name + ".one", 1)));
        String product = graph.add("Mul", name + ".doubled", List.of(x, erf));
        return graph.add("Mul", name, List.of(product, graph.scalar(name + ".half", 0.5f)));
    }

    private String attention(BlockShape shape, Map<LayerRole, Layer> byRole, String norm) {
        String name = shape.name() + ".attn";
        String input = shape.windows().isEmpty() ? norm : reordered(name + ".windows", norm, shape.windows().get().order());
        OnnxProducts.Attention attention = products.attention(shape, byRole, input);
        String scores = shape.windows().isEmpty() ? attention.scores() : biased(shape, attention.scores());
        String probabilities = graph.add("Softmax", name + ".softmax", List.of(scores), attribute("axis", LAST));
        String context = attention.context(probabilities);
        String rows = graph.add("Transpose", name + ".context.rows", List.of(context), attribute("perm", 0, 2, 1, 3));
        String tokens = graph.add("Reshape", name + ".context", List.of(rows,
                graph.integers(name + ".context.sizes", LAST, shape.tokens(), shape.dim())));
        String projected = products.linear(byRole.get(LayerRole.PROJECTION), tokens);
        return shape.windows().map(windows -> reordered(name + ".image", projected, inverse(windows.order()))).orElse(projected);
    }

    /** Adds the bias of relative positions to scores {@code [batch * windows, heads, n, n]}. */
    private String biased(BlockShape shape, String scores) {
        String name = shape.name() + ".attn.bias";
        Windows windows = shape.windows().orElseThrow();
        int n = windows.tokens();
        String bias = graph.floats(name, windows.bias(model.tensor(shape.positionTable())));
        if (windows.shift() == 0) {
            return graph.add("Add", name + ".sum", List.of(scores, bias));
        }
        String byImage = graph.add("Reshape", name + ".images", List.of(scores,
                graph.integers(name + ".images.sizes", LAST, windows.count(), shape.heads(), n, n)));
        String sum = graph.add("Add", name + ".sum", List.of(byImage, bias));
        return graph.add("Reshape", name + ".windows", List.of(sum,
                graph.integers(name + ".windows.sizes", LAST, shape.heads(), n, n)));
    }

    private String merge(MergingShape shape, String tokens) {
        String squares = graph.add("Reshape", shape.name() + ".squares", List.of(
                reordered(shape.name() + ".order", tokens, shape.order()),
                graph.integers(shape.name() + ".sizes", 0, shape.output().sizes().size(0), 4L * shape.dim())));
        return products.linear(shape.layers().get(0), norm(shape.name() + ".norm", squares));
    }

    /** The classifiers' inputs, {@code [batch, features]} each. */
    private List<String> pool(String tokens) {
        Pooling pooling = config instanceof VitConfig vit ? vit.pooling() : Pooling.NORM_THEN_MEAN;
        String norm = pooling.norm();
        List<String> pooled = new ArrayList<>();
        switch (pooling) {
            case CLASS_TOKEN -> {
                for (int head = 0; head < config.headLayers().size(); head++) {
                    String index = graph.integers("pool.index" + head, new int[0], head);
                    String token = graph.add("Gather", "pool.token" + head, List.of(tokens, index), attribute("axis", 1));
                    pooled.add(norm(norm, "pool.norm" + head, token));
                }
            }
            case NORM_THEN_MEAN -> pooled.add(mean(norm(norm, tokens)));
            case MEAN_THEN_NORM -> pooled.add(norm(norm, mean(tokens)));
            default -> throw new IllegalStateException(pooling.toString());
        }
        if (config instanceof VitConfig vit && vit.representation() > 0) {
            String name = "pre_logits.fc";
            String weight = graph.floats(name + ".weight", OnnxProducts.transposed(model.tensor(name + ".weight")));
            String product = graph.add("MatMul", name + ".product", List.of(pooled.get(0), weight));
            String sum = graph.add("Add", name, List.of(product, graph.floats(name + ".bias", model.tensor(name + ".bias"))));
            return List.of(graph.add("Tanh", "pre_logits", List.of(sum)));
        }
        return pooled;
    }

    /** Mean of the patches. */
    private String mean(String tokens) {
        int prefix = config instanceof VitConfig vit ? vit.prefix().count() : 0;
        int tokenCount = config.units().get(config.units().size() - 1).output().sizes().size(0);
        String patches = prefix == 0 ? tokens : graph.add("Slice", "pool.patches", List.of(tokens,
                graph.integers("pool.from", prefix), graph.integers("pool.to", tokenCount), graph.integers("pool.axis", 1)));
        return options.opset() < AXES_AS_INPUT
                ? graph.add("ReduceMean", "pool.mean", List.of(patches), attribute("axes", new long[] {1}), attribute("keepdims", 0))
                : graph.add("ReduceMean", "pool.mean", List.of(patches, graph.integers("pool.mean.axes", 1)),
                        attribute("keepdims", 0));
    }

    private void classify(List<String> pooled) {
        List<Layer> heads = config.headLayers();
        List<String> outputs = new ArrayList<>();
        for (int head = 0; head < heads.size(); head++) {
            outputs.add(products.linear(heads.get(head), pooled.get(head)));
        }
        if (outputs.size() == 1) {
            graph.add("Identity", OnnxModel.OUTPUT, outputs);
        } else {
            graph.add("Mean", OnnxModel.OUTPUT, outputs);
        }
    }

    private String scaled(BlockShape shape, int part, String x) {
        return shape.layerScale() ? graph.add("Mul", shape.name() + ".ls" + part,
                List.of(x, vector(shape.layerScale(part)))) : x;
    }

    private String norm(String name, String x) {
        return norm(name, name, x);
    }

    private String norm(String parameters, String name, String x) {
        // several norms may share their parameters
        String gamma = graph.floats(name + ".weight", flat(parameters + ".weight"));
        String beta = graph.floats(name + ".bias", flat(parameters + ".bias"));
        int[] sizes = graph.sizes(x);
        if (options.target() == OnnxOptions.Target.ONNXRUNTIME && sizes.length == 3) {
            return graph.add("Add", name, List.of(graph.add("Mul", name + ".scaled", List.of(normalised(name, x, sizes[1]), gamma)), beta));
        }
        return graph.add("LayerNormalization", name, List.of(x, gamma, beta), attribute("axis", LAST),
                attribute("epsilon", config.epsilon()));
    }

    /** Tokens {@code [batch, tokens, dim]} of mean 0 and variance 1 each: to this operator they are channels of images. */
    private String normalised(String name, String x, int tokens) {
        float[] ones = new float[tokens];
        Arrays.fill(ones, 1);
        String one = constant("norm.ones" + tokens, ones);
        String zero = constant("norm.zeros" + tokens, new float[tokens]);
        return graph.add("InstanceNormalization", name + ".normalised", List.of(x, one, zero), attribute("epsilon", config.epsilon()));
    }

    private String constant(String name, float... numbers) {
        return graph.has(name) ? name : graph.vector(name, numbers);
    }

    private String vector(String name) {
        return graph.floats(name, flat(name));
    }

    private Tensor flat(String name) {
        Tensor tensor = model.tensor(name);
        return tensor.reshape(tensor.data().limit());
    }

    private String reordered(String name, String tokens, int[] order) {
        return graph.add("Gather", name, List.of(tokens, graph.integers(name + ".places",
                Arrays.stream(order).asLongStream().toArray())), attribute("axis", 1));
    }

    private static int[] inverse(int[] order) {
        int[] inverse = new int[order.length];
        for (int i = 0; i < order.length; i++) {
            inverse[order[i]] = i;
        }
        return inverse;
    }
}
