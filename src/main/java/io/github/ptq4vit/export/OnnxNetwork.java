package io.github.ptq4vit.export;

import static io.github.ptq4vit.export.OnnxGraph.attribute;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Pooling;
import io.github.ptq4vit.model.UnitShape;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Writes a network into a graph, as {@link io.github.ptq4vit.model.Network} computes it. */
final class OnnxNetwork {
    static final int LAST = -1;
    /** The first opset in which the axes of ReduceMean are an input. */
    private static final int AXES_AS_INPUT = 18;

    final OnnxGraph graph;
    final VisionTransformer model;
    final OnnxProducts products;
    final OnnxOptions options;
    private final Architecture config;

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
            tokens = new OnnxUnit(this, unit).write(tokens);
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
            return norm("patch_embed.norm", "patch_embed.norm", patches);
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
            case NORM_THEN_MEAN -> pooled.add(mean(norm(norm, norm, tokens)));
            case MEAN_THEN_NORM -> pooled.add(norm(norm, norm, mean(tokens)));
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

    /** Normalised tokens; several norms may share their parameters. */
    String norm(String parameters, String name, String x) {
        String gamma = graph.floats(name + ".weight", model.vector(parameters + ".weight"));
        String beta = graph.floats(name + ".bias", model.vector(parameters + ".bias"));
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
}
