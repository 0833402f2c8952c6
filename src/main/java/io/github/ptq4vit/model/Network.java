package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A vision transformer on a device: embedding, units, classifiers. All methods but {@link #logits} work on the images they
 * are given, on the calling thread.
 */
public final class Network {
    private final Backend backend;
    private final Architecture config;
    private final Embedding embedding;
    private final List<Unit> units = new ArrayList<>();
    private final Head head;

    /** Brings everything but the layers' weights to the device; the scope owns it. */
    public Network(Backend backend, Scope scope, VisionTransformer model) {
        this.backend = backend;
        this.config = model.config();
        this.embedding = Embedding.of(backend, scope, model);
        for (UnitShape shape : config.units()) {
            units.add(new Unit(backend, scope, model, shape));
        }
        this.head = new Head(backend, scope, model);
    }

    /** A tensor on the device. */
    static View array(Backend backend, Scope scope, Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }

    /** What this is a network of. */
    public Architecture config() {
        return config;
    }

    /** The units between embedding and head, in order. */
    public List<Unit> units() {
        return List.copyOf(units);
    }

    /** Pixels {@code [images, channels, side, side]} as unfolded patches {@code [images, patches, channels * patch^2]}. */
    public void unfold(View pixels, View patches) {
        int grid = config.grid();
        int patch = config.patchSize();
        View windows = pixels.split(2, grid).split(4, grid).permute(0, 2, 4, 1, 3, 5);
        backend.copy(windows, patches.reshape(pixels.size(0), grid, grid, config.channels(), patch, patch));
    }

    /** The patches of some host images, {@code [images, patches, channels * patch^2]}. */
    public View patches(Tensor pixels, Scope scope) {
        View input = scope.floats(pixels.shape().toArray());
        backend.upload(pixels, input);
        View patches = scope.floats(input.size(0), config.grid() * config.grid(), config.patchElements());
        unfold(input, patches);
        return patches;
    }

    /**
     * The first layer and what follows before the first unit.
     *
     * @param patches {@code [images, patches, channels * patch^2]}
     * @param tokens {@code [images, tokens, dim]}, the input of the first unit
     */
    public void embed(Arithmetic arithmetic, View patches, View tokens, Scope scope) {
        View embedded = scope.floats(patches.size(0), patches.size(1), config.dim());
        arithmetic.linear(config.embedding(), patches.rows(), embedded.rows());
        embedding.forward(embedded, tokens);
    }

    /**
     * From the gradient at the first unit's input to the one at the first layer's output.
     *
     * @param embedded the first layer's output {@code [images, patches, dim]}
     * @param dEmbedded shaped like it, written
     */
    public void embedBackward(View embedded, View dTokens, View dEmbedded) {
        embedding.backward(embedded, dTokens, dEmbedded);
    }

    /** The classifiers' inputs, {@code [classifiers, images, features]}. */
    public void pool(View tokens, View pooled, Scope scope) {
        head.pool(tokens, pooled, scope);
    }

    /** The classifiers' outputs, {@code [classifiers, images, classes]}. */
    public void classify(Arithmetic arithmetic, View pooled, View outputs) {
        head.classify(arithmetic, pooled, outputs);
    }

    /**
     * From the gradients at the classifiers' outputs to the gradient at the last unit's output.
     *
     * @param tokens the last unit's output {@code [images, tokens, dim]}
     * @param dOutputs {@code [classifiers, images, classes]}
     * @param dTokens {@code [images, tokens, dim]}, written
     */
    public void headBackward(FloatArithmetic arithmetic, View tokens, View dOutputs, View dTokens, Scope scope) {
        head.backward(arithmetic, tokens, dOutputs, dTokens, scope);
    }

    /**
     * The whole forward pass, spread over the device.
     *
     * @param pixels {@code [images, channels, side, side]}
     * @return logits {@code [images, classes]}; the mean of both classifiers if there are two
     */
    public Tensor logits(Arithmetic arithmetic, Tensor pixels) {
        return logits(arithmetic, 0, pixels.shape().size(0), (from, to, scope) -> {
            View tokens = units.get(0).input(scope, to - from);
            try (Scope temporary = backend.scope()) {
                embed(arithmetic, patches(pixels.slice(from, to), temporary), tokens, temporary);
            }
            return tokens;
        });
    }

    /**
     * The forward pass from a unit on, spread over the device.
     *
     * @param unit index of the unit; the number of units for the classifiers alone
     * @param input its input, {@code [images, tokens, dim]}
     * @return logits {@code [images, classes]}
     */
    public Tensor logits(Arithmetic arithmetic, int unit, View input) {
        return logits(arithmetic, unit, input.size(0), (from, to, scope) -> input.slice(0, from, to));
    }

    private interface Start {
        View tokens(int from, int to, Scope scope);
    }

    private Tensor logits(Arithmetic arithmetic, int unit, int images, Start start) {
        int heads = config.headLayers().size();
        try (Scope outer = backend.scope()) {
            View outputs = outer.floats(images, heads, config.classes());
            backend.parallel(images, (from, to, scope) -> {
                View tokens = tokens(arithmetic, unit, start.tokens(from, to, scope), scope);
                View pooled = scope.floats(heads, to - from, config.classifierInputs());
                pool(tokens, pooled, scope);
                View classified = scope.floats(heads, to - from, config.classes());
                classify(arithmetic, pooled, classified);
                backend.copy(classified.permute(1, 0, 2), outputs.slice(0, from, to));
            });
            return meanOfHeads(backend.download(outputs));
        }
    }

    /** The last unit's output, from a unit's input, which stays as it is. */
    private View tokens(Arithmetic arithmetic, int first, View input, Scope scope) {
        View tokens = input;
        Optional<View> free = Optional.empty();
        for (Unit unit : units.subList(first, units.size())) {
            int[] sizes = unit.shape().output().arraySizes(input.size(0));
            View output = free.filter(f -> Arrays.equals(f.sizes(), sizes)).orElseGet(() -> scope.floats(sizes));
            unit.forward(arithmetic, tokens, output);
            free = tokens == input ? Optional.empty() : Optional.of(tokens);
            tokens = output;
        }
        return tokens;
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
