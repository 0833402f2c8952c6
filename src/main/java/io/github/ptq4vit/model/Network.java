package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A vision transformer on a device: embedding, blocks, classifier. All methods but {@link #logits} work on the images they
 * are given, on the calling thread.
 */
public final class Network {
    private final Backend backend;
    private final VitConfig config;
    private final List<Block> blocks = new ArrayList<>();
    private final List<Layer> heads;
    private final Layer embedding;
    private final View positions;
    private final View prefix;
    private final View gamma;
    private final View beta;

    /** Brings everything but the layers' weights to the device; the scope owns it. */
    public Network(Backend backend, Scope scope, VisionTransformer model) {
        this.backend = backend;
        this.config = model.config();
        for (int block = 0; block < config.depth(); block++) {
            blocks.add(new Block(backend, scope, model, block));
        }
        this.heads = config.headLayers();
        this.embedding = config.layers().get(0);
        this.positions = Networks.vector(backend, scope, model.tensor("pos_embed")).reshape(config.tokens(), config.dim());
        this.prefix = scope.floats(config.prefixTokens(), config.dim());
        backend.upload(model.tensor("cls_token").reshape(1, config.dim()), prefix.slice(0, 0, 1));
        if (config.distilled()) {
            backend.upload(model.tensor("dist_token").reshape(1, config.dim()), prefix.slice(0, 1, 2));
        }
        this.gamma = Networks.vector(backend, scope, model.tensor("norm.weight"));
        this.beta = Networks.vector(backend, scope, model.tensor("norm.bias"));
    }

    /** What this is a network of. */
    public VitConfig config() {
        return config;
    }

    /** The blocks in order. */
    public List<Block> blocks() {
        return List.copyOf(blocks);
    }

    /** Pixels {@code [images, channels, side, side]} as unfolded patches {@code [images * patches, channels * patch^2]}. */
    public void unfold(View pixels, View patches) {
        int grid = config.grid();
        int patch = config.patchSize();
        View windows = pixels.split(2, grid).split(4, grid).permute(0, 2, 4, 1, 3, 5);
        backend.copy(windows, patches.reshape(pixels.size(0), grid, grid, config.channels(), patch, patch));
    }

    /** Patches {@code [images * patches, channels * patch^2]} to the input of the first block {@code [images, tokens, dim]}. */
    public void embed(Arithmetic arithmetic, View patches, View tokens, Scope scope) {
        int images = tokens.size(0);
        int count = config.grid() * config.grid();
        View embedded = scope.floats(images, count, config.dim());
        arithmetic.linear(embedding, patches, embedded.rows());
        backend.copy(embedded, tokens.slice(1, config.prefixTokens(), config.tokens()));
        for (int image = 0; image < images; image++) {
            backend.copy(prefix, tokens.at(image).slice(0, 0, config.prefixTokens()));
        }
        backend.add(tokens, positions, tokens);
    }

    /** The classifiers' inputs, {@code [classifiers, images, dim]}: the normalised prefix tokens of the last block's output. */
    public void pool(View tokens, View pooled, Scope scope) {
        for (int head = 0; head < heads.size(); head++) {
            View rows = scope.floats(tokens.size(0), config.dim());
            backend.copy(tokens.slice(1, head, head + 1).dropAxis(1), rows);
            backend.layerNorm(rows, gamma, beta, config.epsilon(), pooled.at(head));
        }
    }

    /** The classifiers' outputs, {@code [classifiers, images, classes]}. */
    public void classify(Arithmetic arithmetic, View pooled, View outputs) {
        for (int head = 0; head < heads.size(); head++) {
            arithmetic.linear(heads.get(head), pooled.at(head), outputs.at(head));
        }
    }

    /**
     * From the gradients at the classifiers' outputs to the gradient at the last block's output.
     *
     * @param tokens the last block's output {@code [images, tokens, dim]}
     * @param dOutputs {@code [classifiers, images, classes]}
     * @param dTokens {@code [images, tokens, dim]}, written
     */
    public void headBackward(FloatArithmetic arithmetic, View tokens, View dOutputs, View dTokens, Scope scope) {
        backend.zero(dTokens);
        for (int head = 0; head < heads.size(); head++) {
            View rows = scope.floats(tokens.size(0), config.dim());
            View dNormalised = scope.floats(rows.sizes());
            View dRows = scope.floats(rows.sizes());
            backend.copy(tokens.slice(1, head, head + 1).dropAxis(1), rows);
            arithmetic.linearBackward(heads.get(head), dOutputs.at(head), dNormalised);
            backend.layerNormBackward(rows, gamma, config.epsilon(), dNormalised, dRows);
            backend.copy(dRows, dTokens.slice(1, head, head + 1).dropAxis(1));
        }
    }

    /**
     * The whole forward pass, spread over the device.
     *
     * @param pixels {@code [images, channels, side, side]}
     * @return logits {@code [images, classes]}; the mean of both classifiers if distilled
     */
    public Tensor logits(Arithmetic arithmetic, Tensor pixels) {
        int images = pixels.shape().size(0);
        try (Scope outer = backend.scope()) {
            View outputs = outer.floats(images, heads.size(), config.classes());
            backend.parallel(images, (from, to, scope) -> {
                View input = scope.floats(to - from, config.channels(), config.imageSize(), config.imageSize());
                backend.upload(pixels.slice(from, to), input);
                View patches = scope.floats((to - from) * config.grid() * config.grid(), config.patchElements());
                unfold(input, patches);
                View tokens = scope.floats(to - from, config.tokens(), config.dim());
                embed(arithmetic, patches, tokens, scope);
                Activations a = Activations.allocate(scope, config, tokens);
                for (Block block : blocks) {
                    block.forward(arithmetic, a);
                    a = a.between(a.output(), a.input());
                }
                View pooled = scope.floats(heads.size(), to - from, config.dim());
                pool(a.input(), pooled, scope);
                View classified = scope.floats(heads.size(), to - from, config.classes());
                classify(arithmetic, pooled, classified);
                backend.copy(classified.permute(1, 0, 2), outputs.slice(0, from, to));
            });
            return meanOfHeads(backend.download(outputs));
        }
    }

    /** The prediction from the classifiers' outputs {@code [images, classifiers, classes]}: their mean. */
    public static Tensor meanOfHeads(Tensor outputs) {
        int heads = outputs.shape().size(1);
        int classes = outputs.shape().size(2);
        Tensor mean = Tensor.zeros(outputs.shape().size(0), classes);
        for (int i = 0; i < mean.data().limit(); i++) {
            float sum = 0;
            for (int head = 0; head < heads; head++) {
                sum += outputs.data().get((i / classes * heads + head) * classes + i % classes);
            }
            mean.data().put(i, sum / heads);
        }
        return mean;
    }
}
