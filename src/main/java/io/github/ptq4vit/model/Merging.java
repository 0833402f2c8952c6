package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The merging of tokens between two stages of a Swin: gather four neighbours, normalise, reduce. */
public final class Merging implements Unit {
    private final Backend backend;
    private final MergingShape shape;
    private final float epsilon;
    private final Layer layer;
    private final TokenOrder squares;
    private final View gamma;
    private final View beta;

    Merging(Backend backend, Scope scope, VisionTransformer model, MergingShape shape) {
        this.backend = backend;
        this.shape = shape;
        this.epsilon = model.config().epsilon();
        this.layer = shape.layers().get(0);
        this.squares = new TokenOrder(backend, shape.order());
        this.gamma = Networks.vector(backend, scope, model.tensor(shape.name() + ".norm.weight"));
        this.beta = Networks.vector(backend, scope, model.tensor(shape.name() + ".norm.bias"));
    }

    @Override
    public MergingShape shape() {
        return shape;
    }

    @Override
    public Pass pass(Scope scope, View input, View output) {
        int images = input.size(0);
        return new MergingPass(this, input, scope.floats(images, shape.outputTokens(), 4 * shape.dim()),
                scope.floats(images, shape.outputTokens(), 4 * shape.dim()), output);
    }

    @Override
    public void forward(Arithmetic arithmetic, View input, View output) {
        try (Scope scope = backend.scope()) {
            pass(scope, input, output).forward(arithmetic);
        }
    }

    /**
     * @param input {@code [images, n, d]}
     * @param merged squares of tokens, {@code [images, n / 4, 4 d]}
     * @param norm the same normalised
     * @param output {@code [images, n / 4, 2 d]}
     */
    private record MergingPass(Merging merging, View input, View merged, View norm, View output) implements Pass {
        @Override
        public Pass images(int from, int to) {
            return new MergingPass(merging, input.slice(0, from, to), merged.slice(0, from, to), norm.slice(0, from, to),
                    output.slice(0, from, to));
        }

        @Override
        public void forward(Arithmetic arithmetic) {
            merging.squares.forward(input, merged.reshape(input.sizes()));
            merging.backend.layerNorm(merged, merging.gamma, merging.beta, merging.epsilon, norm);
            arithmetic.linear(merging.layer, norm.rows(), output.rows());
        }

        @Override
        public Gradients gradients(Scope scope, View atInput, View atOutput) {
            return new Gradients(atInput, Map.of(LayerRole.REDUCTION, atOutput), atOutput);
        }

        @Override
        public void backward(FloatArithmetic arithmetic, Gradients g, Scope scope) {
            View dNorm = scope.floats(norm.sizes());
            View dMerged = scope.floats(norm.sizes());
            arithmetic.linearBackward(merging.layer, g.output().rows(), dNorm.rows());
            merging.backend.layerNormBackward(merged, merging.gamma, merging.epsilon, dNorm, dMerged);
            merging.squares.backward(dMerged.reshape(input.sizes()), g.input());
        }

        @Override
        public List<LayerData> layers(Optional<Gradients> gradients) {
            return List.of(LayerData.linear(merging.layer, norm, output, gradients.map(g -> g.at(LayerRole.REDUCTION))));
        }
    }
}
