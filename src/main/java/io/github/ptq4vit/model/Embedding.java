package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;

/** What becomes of the embedded patches before the first unit: tokens in front and positions (ViT), or a norm (Swin). */
sealed interface Embedding {

    /** Brings what it needs to the device; the scope owns it. */
    static Embedding of(Backend backend, Scope scope, VisionTransformer model) {
        if (model.config() instanceof VitConfig vit) {
            return new Positioned(backend, scope, model, vit);
        }
        return new Normalised(backend, scope, model);
    }

    /** From {@code [images, patches, dim]} to {@code [images, tokens, dim]}. */
    void forward(View embedded, View tokens);

    /** From the gradient at the tokens to the one at the embedded patches. */
    void backward(View embedded, View dTokens, View dEmbedded);

    /** ViT: class token and the like come first, then learnt positions are added. */
    final class Positioned implements Embedding {
        private final Backend backend;
        private final View prefix;
        private final View positions;

        private Positioned(Backend backend, Scope scope, VisionTransformer model, VitConfig config) {
            this.backend = backend;
            PrefixTokens tokens = config.prefix();
            int count = tokens.count();
            this.prefix = scope.floats(count, config.dim());
            int next = 0;
            if (tokens.classToken()) {
                next = place(model, "cls_token", next);
            }
            if (tokens.distillationToken()) {
                next = place(model, "dist_token", next);
            }
            if (tokens.registers() > 0) {
                place(model, "reg_token", next);
            }
            this.positions = scope.floats(config.tokens(), config.dim());
            backend.zero(positions);
            int without = config.tokens() - config.positions();
            backend.upload(model.tensor("pos_embed").reshape(config.positions(), config.dim()),
                    positions.slice(0, without, config.tokens()));
        }

        private int place(VisionTransformer model, String name, int first) {
            int dim = prefix.size(1);
            int count = Math.toIntExact(model.tensor(name).shape().elements() / dim);
            backend.upload(model.tensor(name).reshape(count, dim), prefix.slice(0, first, first + count));
            return first + count;
        }

        @Override
        public void forward(View embedded, View tokens) {
            int count = prefix.size(0);
            backend.copy(embedded, tokens.slice(1, count, tokens.size(1)));
            for (int image = 0; image < tokens.size(0) && count > 0; image++) {
                backend.copy(prefix, tokens.at(image).slice(0, 0, count));
            }
            backend.add(tokens, positions, tokens);
        }

        @Override
        public void backward(View embedded, View dTokens, View dEmbedded) {
            backend.copy(dTokens.slice(1, prefix.size(0), dTokens.size(1)), dEmbedded);
        }
    }

    /** Swin: every embedded patch is normalised. */
    final class Normalised implements Embedding {
        private final Backend backend;
        private final float epsilon;
        private final View gamma;
        private final View beta;

        private Normalised(Backend backend, Scope scope, VisionTransformer model) {
            this.backend = backend;
            this.epsilon = model.config().epsilon();
            this.gamma = Network.array(backend, scope, model.vector("patch_embed.norm.weight"));
            this.beta = Network.array(backend, scope, model.vector("patch_embed.norm.bias"));
        }

        @Override
        public void forward(View embedded, View tokens) {
            backend.layerNorm(embedded, gamma, beta, epsilon, tokens);
        }

        @Override
        public void backward(View embedded, View dTokens, View dEmbedded) {
            backend.layerNormBackward(embedded, gamma, epsilon, dTokens, dEmbedded);
        }
    }
}
