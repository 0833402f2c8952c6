package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * A transformer block: {@code x + proj(attention(norm(x)))}, then {@code x + mlp(norm(x))}. Works on the images of the
 * activations it is given, on the calling thread.
 */
public final class Block {
    private final Backend backend;
    private final VitConfig config;
    private final List<Layer> all;
    private final Map<LayerRole, Layer> layers;
    private final View gamma1;
    private final View beta1;
    private final View gamma2;
    private final View beta2;

    Block(Backend backend, Scope scope, VisionTransformer model, int index) {
        this.backend = backend;
        this.config = model.config();
        this.all = config.blockLayers(index);
        this.layers = all.stream().collect(Collectors.toMap(Layer::role, Function.identity()));
        String name = config.block(index);
        this.gamma1 = Networks.vector(backend, scope, model.tensor(name + ".norm1.weight"));
        this.beta1 = Networks.vector(backend, scope, model.tensor(name + ".norm1.bias"));
        this.gamma2 = Networks.vector(backend, scope, model.tensor(name + ".norm2.weight"));
        this.beta2 = Networks.vector(backend, scope, model.tensor(name + ".norm2.bias"));
    }

    /** The layers that are quantised, in timm's order. */
    public List<Layer> layers() {
        return all;
    }

    /** From {@code a.input()} to {@code a.output()}, leaving everything between. */
    public void forward(Arithmetic arithmetic, Activations a) {
        backend.layerNorm(a.input(), gamma1, beta1, config.epsilon(), a.norm1());
        arithmetic.linear(layers.get(LayerRole.QKV), a.norm1().rows(), a.qkv().rows());
        View queries = Activations.part(a.qkv(), 0, config.heads());
        View keys = Activations.part(a.qkv(), 1, config.heads());
        View values = Activations.part(a.qkv(), 2, config.heads());
        arithmetic.matmul(layers.get(LayerRole.QUERY_KEY), queries, keys.transpose(), a.scores());
        backend.softmax(a.scores(), scale(), a.probabilities());
        arithmetic.matmul(layers.get(LayerRole.PROBABILITY_VALUE), a.probabilities(), values,
                Activations.heads(a.context(), config.heads()));
        arithmetic.linear(layers.get(LayerRole.PROJECTION), a.context().rows(), a.projection().rows());
        backend.add(a.input(), a.projection(), a.middle());
        backend.layerNorm(a.middle(), gamma2, beta2, config.epsilon(), a.norm2());
        arithmetic.linear(layers.get(LayerRole.FC1), a.norm2().rows(), a.fc1().rows());
        backend.gelu(a.fc1(), a.gelu());
        arithmetic.linear(layers.get(LayerRole.FC2), a.gelu().rows(), a.fc2().rows());
        backend.add(a.middle(), a.fc2(), a.output());
    }

    /**
     * Gradients of the loss with respect to every layer's output, from the gradient at the block's output and what
     * {@link #forward} left. No gradient of a weight is computed.
     *
     * @param a as after {@link #forward} in float32
     * @param g {@code g.output} is given; the rest is written, {@code g.input} included
     */
    public void backward(FloatArithmetic arithmetic, Activations a, Gradients g, Scope scope) {
        View hidden = scope.floats(a.gelu().sizes());
        arithmetic.linearBackward(layers.get(LayerRole.FC2), g.output().rows(), hidden.rows());
        backend.geluBackward(a.fc1(), hidden, g.fc1());
        View norm = scope.floats(a.norm2().sizes());
        arithmetic.linearBackward(layers.get(LayerRole.FC1), g.fc1().rows(), norm.rows());
        backend.layerNormBackward(a.middle(), gamma2, config.epsilon(), norm, g.projection());
        backend.add(g.projection(), g.output(), g.projection());

        arithmetic.linearBackward(layers.get(LayerRole.PROJECTION), g.projection().rows(), g.context().rows());
        View contextGradient = Activations.heads(g.context(), config.heads());
        View queries = Activations.part(a.qkv(), 0, config.heads());
        View keys = Activations.part(a.qkv(), 1, config.heads());
        View values = Activations.part(a.qkv(), 2, config.heads());
        View probabilities = scope.floats(a.probabilities().sizes());
        backend.matmul(contextGradient, values.transpose(), probabilities);
        backend.matmul(a.probabilities().transpose(), contextGradient, Activations.part(g.qkv(), 2, config.heads()));
        backend.softmaxBackward(a.probabilities(), probabilities, scale(), g.scores());
        backend.matmul(g.scores(), keys, Activations.part(g.qkv(), 0, config.heads()));
        backend.matmul(g.scores().transpose(), queries, Activations.part(g.qkv(), 1, config.heads()));
        arithmetic.linearBackward(layers.get(LayerRole.QKV), g.qkv().rows(), norm.rows());
        backend.layerNormBackward(a.input(), gamma1, config.epsilon(), norm, g.input());
        backend.add(g.input(), g.projection(), g.input());
    }

    private float scale() {
        return (float) (1 / Math.sqrt(config.headDim()));
    }
}
