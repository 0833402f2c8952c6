package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** From the last unit's output to the classifiers' outputs. Works on the images it is given, on the calling thread. */
final class Head {
    private final Backend backend;
    private final Pooling pooling;
    private final int prefix;
    private final float epsilon;
    private final List<Layer> layers;
    private final View gamma;
    private final View beta;
    private final Optional<Backend.Linear> representation;

    Head(Backend backend, Scope scope, VisionTransformer model) {
        Architecture config = model.config();
        this.backend = backend;
        this.epsilon = config.epsilon();
        this.layers = config.headLayers();
        boolean represented = false;
        if (config instanceof VitConfig vit) {
            this.pooling = vit.pooling();
            this.prefix = vit.prefix().count();
            represented = vit.representation() > 0;
        } else {
            this.pooling = Pooling.NORM_THEN_MEAN;
            this.prefix = 0;
        }
        this.gamma = Network.array(backend, scope, model.vector(pooling.norm() + ".weight"));
        this.beta = Network.array(backend, scope, model.vector(pooling.norm() + ".bias"));
        this.representation = represented ? Optional.of(backend.linear(scope, model.tensor("pre_logits.fc.weight"),
                Optional.of(model.tensor("pre_logits.fc.bias")))) : Optional.empty();
    }

    /** The classifiers' inputs, {@code [classifiers, images, features]}. */
    void pool(View tokens, View pooled, Scope scope) {
        if (representation.isPresent()) {
            View features = scope.floats(1, tokens.size(0), tokens.size(2));
            poolTokens(tokens, features, scope);
            backend.linear(features.at(0), representation.get(), pooled.at(0));
            tanh(pooled.at(0), pooled.at(0), scope);
        } else {
            poolTokens(tokens, pooled, scope);
        }
    }

    private void poolTokens(View tokens, View pooled, Scope scope) {
        switch (pooling) {
            case CLASS_TOKEN -> {
                for (int head = 0; head < pooled.size(0); head++) {
                    backend.layerNorm(token(tokens, head, scope), gamma, beta, epsilon, pooled.at(head));
                }
            }
            case NORM_THEN_MEAN -> {
                View normalised = scope.floats(tokens.sizes());
                backend.layerNorm(tokens, gamma, beta, epsilon, normalised);
                mean(normalised, pooled.at(0), scope);
            }
            case MEAN_THEN_NORM -> {
                View mean = scope.floats(tokens.size(0), tokens.size(2));
                mean(tokens, mean, scope);
                backend.layerNorm(mean, gamma, beta, epsilon, pooled.at(0));
            }
            default -> throw new IllegalStateException(pooling.toString());
        }
    }

    /** The classifiers' outputs, {@code [classifiers, images, classes]}. */
    void classify(Arithmetic arithmetic, View pooled, View outputs) {
        for (int head = 0; head < layers.size(); head++) {
            arithmetic.linear(layers.get(head), pooled.at(head), outputs.at(head));
        }
    }

    /**
     * From the gradients at the classifiers' outputs to the gradient at the last unit's output.
     *
     * @param tokens the last unit's output {@code [images, tokens, dim]}
     * @param dOutputs {@code [classifiers, images, classes]}
     * @param dTokens {@code [images, tokens, dim]}, written
     */
    void backward(FloatArithmetic arithmetic, View tokens, View dOutputs, View dTokens, Scope scope) {
        int images = tokens.size(0);
        View dPooled = scope.floats(layers.size(), images, tokens.size(2));
        for (int head = 0; head < layers.size(); head++) {
            if (representation.isPresent()) {
                Backend.Linear weights = representation.get();
                View features = scope.floats(1, images, tokens.size(2));
                poolTokens(tokens, features, scope);
                View linear = scope.floats(images, weights.outputs());
                backend.linear(features.at(0), weights, linear);
                View gradient = scope.floats(linear.sizes());
                arithmetic.linearBackward(layers.get(head), dOutputs.at(head), gradient);
                tanhBackward(linear, gradient, gradient, scope);
                backend.linearBackward(gradient, weights, dPooled.at(head));
            } else {
                arithmetic.linearBackward(layers.get(head), dOutputs.at(head), dPooled.at(head));
            }
        }
        poolBackward(tokens, dPooled, dTokens, scope);
    }

    private void poolBackward(View tokens, View dPooled, View dTokens, Scope scope) {
        switch (pooling) {
            case CLASS_TOKEN -> {
                backend.zero(dTokens);
                for (int head = 0; head < dPooled.size(0); head++) {
                    View dRows = scope.floats(dPooled.size(1), dPooled.size(2));
                    backend.layerNormBackward(token(tokens, head, scope), gamma, epsilon, dPooled.at(head), dRows);
                    backend.copy(dRows, dTokens.slice(1, head, head + 1).dropAxis(1));
                }
            }
            case NORM_THEN_MEAN -> {
                View dNormalised = scope.floats(tokens.sizes());
                meanBackward(dPooled.at(0), dNormalised, scope);
                backend.layerNormBackward(tokens, gamma, epsilon, dNormalised, dTokens);
            }
            case MEAN_THEN_NORM -> {
                View mean = scope.floats(tokens.size(0), tokens.size(2));
                mean(tokens, mean, scope);
                View dMean = scope.floats(mean.sizes());
                backend.layerNormBackward(mean, gamma, epsilon, dPooled.at(0), dMean);
                meanBackward(dMean, dTokens, scope);
            }
            default -> throw new IllegalStateException(pooling.toString());
        }
    }

    private View token(View tokens, int index, Scope scope) {
        View rows = scope.floats(tokens.size(0), tokens.size(2));
        backend.copy(tokens.slice(1, index, index + 1).dropAxis(1), rows);
        return rows;
    }

    /** Mean of the patches, {@code [images, dim]}: a product with a row of 1/patches. */
    private void mean(View tokens, View mean, Scope scope) {
        View row = shares(tokens, scope);
        backend.matmul(row, patches(tokens), mean.reshape(mean.size(0), 1, mean.size(1)));
    }

    private void meanBackward(View dMean, View dTokens, Scope scope) {
        if (prefix > 0) {
            backend.zero(dTokens);
        }
        backend.matmul(shares(dTokens, scope).transpose(), dMean.reshape(dMean.size(0), 1, dMean.size(1)), patches(dTokens));
    }

    private View patches(View tokens) {
        return tokens.slice(1, prefix, tokens.size(1));
    }

    private View shares(View tokens, Scope scope) {
        int count = tokens.size(1) - prefix;
        View shares = scope.floats(tokens.size(0), 1, count);
        Tensor numbers = Tensor.zeros(shares.sizes());
        Arrays.fill(numbers.data().array(), 1f / count);
        backend.upload(numbers, shares);
        return shares;
    }

    /** {@code y = tanh(x)}: the difference of the two numbers of {@code softmax(2 x, 0)}. y may be x. */
    private void tanh(View x, View y, Scope scope) {
        View pairs = pairs(x, scope);
        backend.matmul(pairs, difference(scope).transpose(), y.reshape(pairs.size(0), 1));
    }

    /** Gradient of {@link #tanh} with respect to x. dx may be dy. */
    private void tanhBackward(View x, View dy, View dx, Scope scope) {
        View pairs = pairs(x, scope);
        View dPairs = scope.floats(pairs.sizes());
        backend.matmul(dy.reshape(pairs.size(0), 1), difference(scope), dPairs);
        View dX = scope.floats(pairs.sizes());
        backend.softmaxBackward(pairs, dPairs, 2, dX);
        backend.copy(dX.slice(1, 0, 1), dx.reshape(pairs.size(0), 1));
    }

    private View pairs(View x, Scope scope) {
        View pairs = scope.floats(Math.toIntExact(x.elements()), 2);
        backend.zero(pairs);
        backend.copy(x.reshape(pairs.size(0), 1), pairs.slice(1, 0, 1));
        backend.softmax(pairs, 2, pairs);
        return pairs;
    }

    private View difference(Scope scope) {
        return Network.array(backend, scope, Tensor.of(Shape.of(1, 2), 1, -1));
    }
}
