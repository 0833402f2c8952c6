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
import io.github.ptq4vit.tensor.Shape;
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

    private final OnnxGraph graph;
    private final VisionTransformer model;
    private final Architecture config;
    private final OnnxProducts products;
    private final List<OnnxModel.LayerValues> layers = new ArrayList<>();

    OnnxNetwork(OnnxGraph graph, OnnxProducts products) {
        this.graph = graph;
        this.products = products;
        this.model = products.model;
        this.config = model.config();
    }

    /** From the input to the output. Returns the values of the layers, in the order of computation. */
    List<OnnxModel.LayerValues> write() {
        String pixels = graph.input(OnnxModel.INPUT, config.channels(), config.imageSize(), config.imageSize());
        String tokens = embed(pixels);
        for (UnitShape unit : config.units()) {
            tokens = unit instanceof BlockShape block ? block(block, tokens) : merge((MergingShape) unit, tokens);
        }
        classify(pool(tokens));
        graph.output(OnnxModel.OUTPUT, config.classes());
        return layers;
    }

    private String embed(String pixels) {
        Layer layer = config.embedding();
        String map = products.embedding(layer, pixels);
        layers.add(new OnnxModel.LayerValues(layer.name(), List.of(pixels), map));
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
        String hidden = linear(byRole.get(LayerRole.FC1), norm(shape.name() + ".norm2", middle));
        String gelu = graph.add("Gelu", shape.name() + ".mlp.act", List.of(hidden));
        String mlp = linear(byRole.get(LayerRole.FC2), gelu);
        return graph.add("Add", shape.name(), List.of(middle, scaled(shape, 2, mlp)));
    }

    private String attention(BlockShape shape, Map<LayerRole, Layer> byRole, String norm) {
        String name = shape.name() + ".attn";
        int n = shape.windowTokens();
        int d = shape.headDim();
        String input = shape.windows().isEmpty() ? norm : reordered(name + ".windows", norm, shape.windows().get().order());
        List<String> qkv = graph.split(name + ".parts", linear(byRole.get(LayerRole.QKV), input), LAST, 3);
        String sizes = graph.integers(name + ".sizes", LAST, n, shape.heads(), d);
        List<String> heads = new ArrayList<>();
        for (int part = 0; part < qkv.size(); part++) {
            String rows = graph.add("Reshape", name + "." + "qkv".charAt(part) + ".rows", List.of(qkv.get(part), sizes));
            // the keys come transposed
            heads.add(graph.add("Transpose", name + "." + "qkv".charAt(part), List.of(rows),
                    part == 1 ? attribute("perm", 0, 2, 3, 1) : attribute("perm", 0, 2, 1, 3)));
        }
        String factor = graph.scalar(name + ".scale", (float) (1 / Math.sqrt(d)));
        Layer queryKey = byRole.get(LayerRole.QUERY_KEY);
        String scores;
        if (shape.windows().isEmpty()) {
            scores = graph.add("Mul", name + ".scores", List.of(matmul(queryKey, heads.get(0), heads.get(1)), factor));
        } else {
            String queries = graph.add("Mul", name + ".q.scaled", List.of(heads.get(0), factor));
            scores = biased(shape, matmul(queryKey, queries, heads.get(1)));
        }
        String probabilities = graph.add("Softmax", name + ".softmax", List.of(scores), attribute("axis", LAST));
        String context = matmul(byRole.get(LayerRole.PROBABILITY_VALUE), probabilities, heads.get(2));
        String rows = graph.add("Transpose", name + ".context.rows", List.of(context), attribute("perm", 0, 2, 1, 3));
        String tokens = graph.add("Reshape", name + ".context", List.of(rows,
                graph.integers(name + ".context.sizes", LAST, shape.tokens(), shape.dim())));
        String projected = linear(byRole.get(LayerRole.PROJECTION), tokens);
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
                graph.integers(shape.name() + ".sizes", 0, shape.outputTokens(), 4L * shape.dim())));
        return linear(shape.layers().get(0), norm(shape.name() + ".norm", squares));
    }

    /** The classifiers' inputs, {@code [batch, features]} each. */
    private List<String> pool(String tokens) {
        Pooling pooling = config instanceof VitConfig vit ? vit.pooling() : Pooling.NORM_THEN_MEAN;
        String norm = pooling.norm();
        List<String> pooled = new ArrayList<>();
        switch (pooling) {
            case CLASS_TOKEN -> {
                for (int head = 0; head < config.headLayers().size(); head++) {
                    String index = graph.index("pool.index" + head, head);
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
        int tokenCount = config.units().get(config.units().size() - 1).outputTokens();
        String patches = prefix == 0 ? tokens : graph.add("Slice", "pool.patches", List.of(tokens,
                graph.integers("pool.from", prefix), graph.integers("pool.to", tokenCount), graph.integers("pool.axis", 1)));
        return graph.add("ReduceMean", "pool.mean", List.of(patches, graph.integers("pool.mean.axes", 1)),
                attribute("keepdims", 0));
    }

    private void classify(List<String> pooled) {
        List<Layer> heads = config.headLayers();
        List<String> outputs = new ArrayList<>();
        for (int head = 0; head < heads.size(); head++) {
            outputs.add(linear(heads.get(head), pooled.get(head)));
        }
        if (outputs.size() == 1) {
            graph.add("Identity", OnnxModel.OUTPUT, outputs);
        } else {
            graph.add("Mean", OnnxModel.OUTPUT, outputs);
        }
    }

    private String linear(Layer layer, String x) {
        String y = products.linear(layer, x);
        layers.add(new OnnxModel.LayerValues(layer.name(), List.of(x), y));
        return y;
    }

    private String matmul(Layer layer, String a, String b) {
        String c = products.matmul(layer, a, b);
        layers.add(new OnnxModel.LayerValues(layer.name(), List.of(a, b), c));
        return c;
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
        return graph.add("LayerNormalization", name, List.of(x, gamma, beta), attribute("axis", LAST),
                attribute("epsilon", config.epsilon()));
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
