package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** A step of a unit: which values it reads, which it writes, and how, forward and backward. */
public sealed interface Stage {

    /** What it reads, or the first of two. */
    Value input();

    /** What it writes: all of an array. */
    Value output();

    /** All that it reads. */
    default List<Value> inputs() {
        return List.of(input());
    }

    /** What gradients and the data of layers need after the forward pass. */
    default List<Value> kept() {
        return List.of();
    }

    /** Constants that it needs on the device. */
    default List<Tensor> constants(VisionTransformer model) {
        return List.of();
    }

    /** Computes the output. */
    void forward(Pass pass, Arithmetic arithmetic);

    /** Adds to the gradients at the inputs, from the one at the output. */
    void backward(Backward g);

    /** A stage whose products are those of a layer to quantise. */
    sealed interface OfLayer extends Stage {
        /** Which. */
        Layer layer();
    }

    /** A stage that may write over its input. */
    sealed interface InPlace extends Stage {
    }

    /**
     * LayerNorm of every token.
     *
     * @param name of its tensors, which end in {@code .weight} and {@code .bias}
     */
    record Norm(Value input, String name, Value output) implements Stage {
        @Override
        public List<Value> kept() {
            return List.of(input);
        }

        @Override
        public List<Tensor> constants(VisionTransformer model) {
            return List.of(model.vector(name + ".weight"), model.vector(name + ".bias"));
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            List<View> gammaAndBeta = pass.constants(this);
            pass.backend().layerNorm(pass.of(input), gammaAndBeta.get(0), gammaAndBeta.get(1), pass.epsilon(), pass.of(output));
        }

        @Override
        public void backward(Backward g) {
            Pass pass = g.pass();
            View gamma = pass.constants(this).get(0);
            g.add(input, dx -> g.backend().layerNormBackward(pass.of(input), gamma, pass.epsilon(), g.at(output), dx));
        }
    }

    /** Another order of the tokens of every image; the output may see several of them as one. */
    record Reorder(Value input, TokenOrder order, Value output) implements Stage {
        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            order.apply(pass.backend(), pass.of(input), pass.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> order.inverse().apply(g.backend(), g.at(output).reshape(dx.sizes()), dx));
        }
    }

    /** {@code x W^T + b} of every token x. */
    record Linear(Layer layer, Value input, Value output) implements OfLayer {
        @Override
        public List<Value> kept() {
            return List.of(input, output);
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            arithmetic.linear(layer, pass.of(input).rows(), pass.of(output).rows());
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> g.arithmetic().linearBackward(layer, g.at(output).rows(), dx.rows()));
        }
    }

    /** A product of attention: queries times transposed keys, or probabilities times values. */
    record Product(Layer layer, Value input, Value right, boolean transposed, Value output) implements OfLayer {
        @Override
        public List<Value> inputs() {
            return List.of(input, right);
        }

        @Override
        public List<Value> kept() {
            return List.of(input, right, output);
        }

        /** The right operand as it is multiplied. */
        View right(Pass pass) {
            return transposed ? pass.of(right).transpose() : pass.of(right);
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            arithmetic.matmul(layer, pass.of(input), right(pass), pass.of(output));
        }

        @Override
        public void backward(Backward g) {
            View dy = g.at(output);
            View left = g.pass().of(input);
            g.add(input, dx -> g.backend().matmul(dy, right(g.pass()).transpose(), dx));
            g.add(right, dx -> g.backend().matmul((transposed ? dy : left).transpose(), transposed ? left : dy, dx));
        }
    }

    /**
     * Every channel times a factor.
     *
     * @param learnt name of the tensor of factors; without one all are {@code fixed}
     */
    record Multiply(Value input, Optional<String> learnt, float fixed, Value output) implements InPlace {
        @Override
        public List<Tensor> constants(VisionTransformer model) {
            float[] factors = new float[output.sizes().size(-1)];
            Arrays.fill(factors, fixed);
            return List.of(learnt.map(model::vector).orElseGet(() -> Tensor.of(Shape.of(factors.length), factors)));
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            View x = pass.of(input);
            View y = pass.of(output);
            if (!x.isDense()) {
                pass.backend().copy(x, y);
                x = y;
            }
            pass.backend().multiply(x, pass.constants(this).get(0), y);
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> {
                View product = dx.isDense() ? dx : g.scope().floats(dx.sizes());
                g.backend().multiply(g.at(output), g.pass().constants(this).get(0), product);
                if (product != dx) {
                    g.backend().copy(product, dx);
                }
            });
        }
    }

    /**
     * Adds to the scores of attention what is known of the positions of both tokens.
     *
     * @param table name of the tensor that {@link Windows#bias} takes it from
     */
    record Bias(Value input, Windows windows, String table, Value output) implements InPlace {
        @Override
        public List<Tensor> constants(VisionTransformer model) {
            return List.of(windows.bias(model.tensor(table)));
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            // one bias for all windows, or one for each
            View bias = pass.constants(this).get(0);
            View scores = pass.of(input);
            int products = bias.size(0) * bias.size(1);
            int[] sizes = {Math.toIntExact(scores.elements() / bias.elements()), products, bias.size(2), bias.size(3)};
            pass.backend().add(scores.reshape(sizes), bias.reshape(products, bias.size(2), bias.size(3)), pass.of(output).reshape(sizes));
        }

        @Override
        public void backward(Backward g) {
            g.addOutput(this, input);
        }
    }

    /** Softmax of every row times a factor. */
    record Softmax(Value input, float factor, Value output) implements InPlace {
        @Override
        public List<Value> kept() {
            return List.of(output);
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            pass.backend().softmax(pass.of(input), factor, pass.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> g.backend().softmaxBackward(g.pass().of(output), g.at(output), factor, dx));
        }
    }

    /** What comes between the layers of an MLP. */
    record Activate(Value input, Activation activation, Value output) implements InPlace {
        @Override
        public List<Value> kept() {
            return List.of(input);
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            activation.forward(pass.backend(), pass.of(input), pass.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> activation.backward(g.backend(), g.pass().of(input), g.at(output), dx));
        }
    }

    /** A sum. */
    record Add(Value input, Value other, Value output) implements InPlace {
        @Override
        public List<Value> inputs() {
            return List.of(input, other);
        }

        @Override
        public void forward(Pass pass, Arithmetic arithmetic) {
            pass.backend().add(pass.of(input), pass.of(other), pass.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.addOutput(this, input);
            g.addOutput(this, other);
        }
    }
}
