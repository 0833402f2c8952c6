package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * A transformer block: {@code x + attention(norm(x))}, then {@code x + mlp(norm(x))}. What is added may be multiplied by
 * factors a channel (layer scale), and attention may be limited to windows (Swin); see {@link BlockShape}.
 */
public final class Block implements Unit {
    private final Backend backend;
    private final BlockShape shape;
    private final float epsilon;
    private final Map<LayerRole, Layer> layers;
    private final View gamma1;
    private final View beta1;
    private final View gamma2;
    private final View beta2;
    private final Optional<View> attentionScale;
    private final Optional<View> mlpScale;
    private final Optional<WindowData> windows;

    /**
     * What window attention needs.
     *
     * @param reorder between image order and window order
     * @param queryScale the factor of the queries, {@code [head length]}
     * @param bias added to the scores, see {@link Windows#bias}
     */
    private record WindowData(TokenOrder reorder, View queryScale, View bias) {
    }

    Block(Backend backend, Scope scope, VisionTransformer model, BlockShape shape) {
        this.backend = backend;
        this.shape = shape;
        this.epsilon = model.config().epsilon();
        this.layers = shape.layers().stream().collect(Collectors.toMap(Layer::role, Function.identity()));
        Function<String, View> vector = name -> Networks.vector(backend, scope, model.tensor(name));
        this.gamma1 = vector.apply(shape.name() + ".norm1.weight");
        this.beta1 = vector.apply(shape.name() + ".norm1.bias");
        this.gamma2 = vector.apply(shape.name() + ".norm2.weight");
        this.beta2 = vector.apply(shape.name() + ".norm2.bias");
        this.attentionScale = shape.layerScale() ? Optional.of(vector.apply(shape.layerScale(1))) : Optional.empty();
        this.mlpScale = shape.layerScale() ? Optional.of(vector.apply(shape.layerScale(2))) : Optional.empty();
        this.windows = shape.windows().map(w -> {
            float[] factors = new float[shape.headDim()];
            Arrays.fill(factors, scale());
            return new WindowData(new TokenOrder(backend, w.order()), Networks.array(backend, scope, factors),
                    Networks.array(backend, scope, w.bias(model.tensor(shape.positionTable()))));
        });
    }

    @Override
    public BlockShape shape() {
        return shape;
    }

    @Override
    public Pass pass(Scope scope, View input, View output) {
        return new BlockPass(this, Activations.allocate(scope, shape, input, output));
    }

    @Override
    public void forward(Arithmetic arithmetic, View input, View output) {
        try (Scope scope = backend.scope()) {
            new BlockPass(this, Activations.overwritten(scope, shape, input, output)).forward(arithmetic);
        }
    }

    private record BlockPass(Block block, Activations a) implements Pass {
        @Override
        public View input() {
            return a.input();
        }

        @Override
        public View output() {
            return a.output();
        }

        @Override
        public Pass images(int from, int to) {
            return new BlockPass(block, a.images(from, to));
        }

        @Override
        public void forward(Arithmetic arithmetic) {
            block.attention(arithmetic, a);
            block.mlp(arithmetic, a);
        }

        @Override
        public Gradients gradients(Scope scope, View input, View output) {
            return block.gradients(scope, a, input, output);
        }

        @Override
        public void backward(FloatArithmetic arithmetic, Gradients g, Scope scope) {
            View middle = block.mlpBackward(arithmetic, a, g, scope);
            block.attentionBackward(arithmetic, a, g, middle, scope);
        }

        @Override
        public List<LayerData> layers(Optional<Gradients> gradients) {
            return block.shape.layers().stream().map(layer -> block.data(layer, a, gradients)).toList();
        }
    }

    private void attention(Arithmetic arithmetic, Activations a) {
        if (windows.isPresent()) {
            // until it gets its own values, the memory of the middle holds the norm in image order
            backend.layerNorm(a.input(), gamma1, beta1, epsilon, a.middle());
            windows.get().reorder.forward(a.middle(), a.norm1());
        } else {
            backend.layerNorm(a.input(), gamma1, beta1, epsilon, a.norm1());
        }
        arithmetic.linear(layers.get(LayerRole.QKV), a.norm1().rows(), a.qkv().rows());
        View queries = queries(a);
        View keys = Activations.part(a.qkv(), 1, shape);
        View values = Activations.part(a.qkv(), 2, shape);
        View scores = Activations.products(a.scores(), shape);
        View probabilities = Activations.products(a.probabilities(), shape);
        if (windows.isPresent()) {
            backend.copy(Activations.part(a.qkv(), 0, shape), queries);
            backend.multiply(queries, windows.get().queryScale, queries);
            arithmetic.matmul(layers.get(LayerRole.QUERY_KEY), queries, keys.transpose(), scores);
            addBias(windows.get().bias, a.scores(), a.probabilities());
            backend.softmax(probabilities, 1, probabilities);
        } else {
            arithmetic.matmul(layers.get(LayerRole.QUERY_KEY), queries, keys.transpose(), scores);
            backend.softmax(scores, scale(), probabilities);
        }
        arithmetic.matmul(layers.get(LayerRole.PROBABILITY_VALUE), probabilities, values,
                Activations.heads(a.context(), shape));
        arithmetic.linear(layers.get(LayerRole.PROJECTION), a.context().rows(), a.projection().rows());
        View added = a.projection();
        if (windows.isPresent()) {
            windows.get().reorder.backward(added, a.middle());
            added = a.middle();
        }
        if (attentionScale.isPresent()) {
            backend.multiply(added, attentionScale.get(), a.middle());
            added = a.middle();
        }
        backend.add(added, a.input(), a.middle());
    }

    private void mlp(Arithmetic arithmetic, Activations a) {
        backend.layerNorm(a.middle(), gamma2, beta2, epsilon, a.norm2());
        arithmetic.linear(layers.get(LayerRole.FC1), a.norm2().rows(), a.fc1().rows());
        shape.activation().forward(backend, a.fc1(), a.activated());
        arithmetic.linear(layers.get(LayerRole.FC2), a.activated().rows(), a.fc2().rows());
        View added = a.fc2();
        if (mlpScale.isPresent()) {
            backend.multiply(added, mlpScale.get(), a.output());
            added = a.output();
        }
        backend.add(added, a.middle(), a.output());
    }

    private Gradients gradients(Scope scope, Activations a, View input, View output) {
        Map<LayerRole, View> at = new EnumMap<>(LayerRole.class);
        at.put(LayerRole.QKV, scope.floats(a.qkv().sizes()));
        at.put(LayerRole.QUERY_KEY, scope.floats(a.scores().sizes()));
        at.put(LayerRole.PROBABILITY_VALUE, scope.floats(a.context().sizes()));
        at.put(LayerRole.PROJECTION, scope.floats(a.projection().sizes()));
        at.put(LayerRole.FC1, scope.floats(a.fc1().sizes()));
        // without factors the gradient at fc2's output is the one at the block's output
        at.put(LayerRole.FC2, mlpScale.isPresent() ? scope.floats(a.fc2().sizes()) : output);
        return new Gradients(input, at, output);
    }

    /** Returns the gradient at the middle. */
    private View mlpBackward(FloatArithmetic arithmetic, Activations a, Gradients g, Scope scope) {
        mlpScale.ifPresent(factors -> backend.multiply(g.output(), factors, g.at(LayerRole.FC2)));
        View hidden = scope.floats(a.activated().sizes());
        arithmetic.linearBackward(layers.get(LayerRole.FC2), g.at(LayerRole.FC2).rows(), hidden.rows());
        shape.activation().backward(backend, a.fc1(), hidden, g.at(LayerRole.FC1));
        View norm = scope.floats(a.norm2().sizes());
        arithmetic.linearBackward(layers.get(LayerRole.FC1), g.at(LayerRole.FC1).rows(), norm.rows());
        // where attention's output is added as it is, this is also the gradient there
        View middle = windows.isPresent() || attentionScale.isPresent() ? scope.floats(a.middle().sizes())
                : g.at(LayerRole.PROJECTION);
        backend.layerNormBackward(a.middle(), gamma2, epsilon, norm, middle);
        backend.add(middle, g.output(), middle);
        return middle;
    }

    private void attentionBackward(FloatArithmetic arithmetic, Activations a, Gradients g, View middle, Scope scope) {
        View added = middle;
        if (attentionScale.isPresent()) {
            added = windows.isPresent() ? scope.floats(middle.sizes()) : g.at(LayerRole.PROJECTION);
            backend.multiply(middle, attentionScale.get(), added);
        }
        if (windows.isPresent()) {
            windows.get().reorder.forward(added, g.at(LayerRole.PROJECTION));
        }
        arithmetic.linearBackward(layers.get(LayerRole.PROJECTION), g.at(LayerRole.PROJECTION).rows(),
                g.at(LayerRole.PROBABILITY_VALUE).rows());
        View context = Activations.heads(g.at(LayerRole.PROBABILITY_VALUE), shape);
        View qkv = g.at(LayerRole.QKV);
        View scores = Activations.products(g.at(LayerRole.QUERY_KEY), shape);
        View probabilities = Activations.products(a.probabilities(), shape);
        View dProbabilities = scope.floats(probabilities.sizes());
        backend.matmul(context, Activations.part(a.qkv(), 2, shape).transpose(), dProbabilities);
        backend.matmul(probabilities.transpose(), context, Activations.part(qkv, 2, shape));
        backend.softmaxBackward(probabilities, dProbabilities, windows.isPresent() ? 1 : scale(), scores);
        View keys = Activations.part(a.qkv(), 1, shape);
        if (windows.isPresent()) {
            View scaled = scope.floats(queries(a).sizes());
            backend.matmul(scores, keys, scaled);
            backend.multiply(scaled, windows.get().queryScale, scaled);
            backend.copy(scaled, Activations.part(qkv, 0, shape));
        } else {
            backend.matmul(scores, keys, Activations.part(qkv, 0, shape));
        }
        backend.matmul(scores.transpose(), queries(a), Activations.part(qkv, 1, shape));
        View norm = scope.floats(a.norm1().sizes());
        arithmetic.linearBackward(layers.get(LayerRole.QKV), qkv.rows(), norm.rows());
        if (windows.isPresent()) {
            View inImageOrder = scope.floats(norm.sizes());
            windows.get().reorder.backward(norm, inImageOrder);
            norm = inImageOrder;
        }
        backend.layerNormBackward(a.input(), gamma1, epsilon, norm, g.input());
        backend.add(g.input(), middle, g.input());
    }

    private LayerData data(Layer layer, Activations a, Optional<Gradients> gradients) {
        Optional<View> g = gradients.map(all -> all.at(layer.role()));
        return switch (layer.role()) {
            case QKV -> LayerData.linear(layer, a.norm1(), a.qkv(), g);
            case QUERY_KEY -> new LayerData(layer, queries(a), Optional.of(Activations.part(a.qkv(), 1, shape).transpose()),
                    Activations.products(a.scores(), shape), g.map(view -> Activations.products(view, shape)));
            case PROBABILITY_VALUE -> new LayerData(layer, Activations.products(a.probabilities(), shape),
                    Optional.of(Activations.part(a.qkv(), 2, shape)), Activations.heads(a.context(), shape),
                    g.map(view -> Activations.heads(view, shape)));
            case PROJECTION -> LayerData.linear(layer, a.context(), a.projection(), g);
            case FC1 -> LayerData.linear(layer, a.norm2(), a.fc1(), g);
            case FC2 -> LayerData.linear(layer, a.activated(), a.fc2(), g);
            default -> throw new IllegalArgumentException("Not a layer of a block: " + layer);
        };
    }

    /** What is multiplied with the keys, {@code [images * windows, heads, w, head length]}. */
    private View queries(Activations a) {
        return windows.isPresent() ? Activations.products(a.queries(), shape) : a.queries();
    }

    /** One bias for all windows, or one for each. */
    private void addBias(View bias, View scores, View sum) {
        int products = bias.size(0) * bias.size(1);
        int[] sizes = {Math.toIntExact(scores.elements() / bias.elements()), products, bias.size(2), bias.size(3)};
        backend.add(scores.reshape(sizes), bias.reshape(products, bias.size(2), bias.size(3)), sum.reshape(sizes));
    }

    private float scale() {
        return (float) (1 / Math.sqrt(shape.headDim()));
    }
}
