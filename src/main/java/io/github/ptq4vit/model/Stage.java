package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A step of a unit: which values it reads, which it writes, and how, forward and backward. Stages are plain values; arrays, constants
 * and gradients are given to them.
 */
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

    /**
     * Computes the output.
     *
     * @param unit whose stage this is
     * @param v what is there so far, and room for the output
     */
    void forward(Unit unit, Values v, Arithmetic arithmetic);

    /** Adds to the gradients at the inputs, from the one at the output. */
    void backward(Backward g);

    /** A stage whose products are those of a layer to quantise. */
    sealed interface OfLayer extends Stage {
        /** Which. */
        Layer layer();

        @Override
        default List<Value> kept() {
            return Stream.concat(inputs().stream(), Stream.of(output())).toList();
        }

        /** The layer's operands and output, with the gradients there. */
        default LayerData data(Values v, Optional<Values> gradients) {
            return LayerData.linear(layer(), v.of(input()), v.of(output()), gradients.map(g -> g.of(output())));
        }
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
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            List<View> gammaAndBeta = unit.constants(this);
            unit.backend().layerNorm(v.of(input), gammaAndBeta.get(0), gammaAndBeta.get(1), unit.epsilon(), v.of(output));
        }

        @Override
        public void backward(Backward g) {
            View gamma = g.unit().constants(this).get(0);
            g.add(input, dx -> g.backend().layerNormBackward(g.values().of(input), gamma, g.unit().epsilon(), g.at(output), dx));
        }
    }

    /** Another order of the tokens of every image; the output may see several of them as one. */
    record Reorder(Value input, TokenOrder order, Value output) implements Stage {
        @Override
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            order.apply(unit.backend(), v.of(input), v.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> order.inverse().apply(g.backend(), g.at(output).reshape(dx.sizes()), dx));
        }
    }

    /** {@code x W^T + b} of every token x. */
    record Linear(Layer layer, Value input, Value output) implements OfLayer {
        @Override
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            arithmetic.linear(layer, v.of(input).rows(), v.of(output).rows());
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

        /** The right operand as it is multiplied. */
        private View right(Values v) {
            return transposed ? v.of(right).transpose() : v.of(right);
        }

        @Override
        public LayerData data(Values v, Optional<Values> gradients) {
            return new LayerData(layer, v.of(input), Optional.of(right(v)), v.of(output), gradients.map(g -> g.of(output)));
        }

        @Override
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            arithmetic.matmul(layer, v.of(input), right(v), v.of(output));
        }

        @Override
        public void backward(Backward g) {
            View dy = g.at(output);
            View left = g.values().of(input);
            g.add(input, dx -> g.backend().matmul(dy, right(g.values()).transpose(), dx));
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
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            View x = v.of(input);
            View y = v.of(output);
            if (!x.isDense()) {
                unit.backend().copy(x, y);
                x = y;
            }
            unit.backend().multiply(x, unit.constants(this).get(0), y);
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> {
                View product = dx.isDense() ? dx : g.scope().floats(dx.sizes());
                g.backend().multiply(g.at(output), g.unit().constants(this).get(0), product);
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
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            // one bias for all windows, or one for each
            View bias = unit.constants(this).get(0);
            View scores = v.of(input);
            int products = bias.size(0) * bias.size(1);
            int[] sizes = {Math.toIntExact(scores.elements() / bias.elements()), products, bias.size(2), bias.size(3)};
            unit.backend().add(scores.reshape(sizes), bias.reshape(products, bias.size(2), bias.size(3)), v.of(output).reshape(sizes));
        }

        @Override
        public void backward(Backward g) {
            g.addOutput(input, output);
        }
    }

    /** Softmax of every row times a factor. */
    record Softmax(Value input, float factor, Value output) implements InPlace {
        @Override
        public List<Value> kept() {
            return List.of(output);
        }

        @Override
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            unit.backend().softmax(v.of(input), factor, v.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> g.backend().softmaxBackward(g.values().of(output), g.at(output), factor, dx));
        }
    }

    /** What comes between the layers of an MLP. */
    record Activate(Value input, Activation activation, Value output) implements InPlace {
        @Override
        public List<Value> kept() {
            return List.of(input);
        }

        @Override
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            activation.forward(unit.backend(), v.of(input), v.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.add(input, dx -> activation.backward(g.backend(), g.values().of(input), g.at(output), dx));
        }
    }

    /** A sum. */
    record Add(Value input, Value other, Value output) implements InPlace {
        @Override
        public List<Value> inputs() {
            return List.of(input, other);
        }

        @Override
        public void forward(Unit unit, Values v, Arithmetic arithmetic) {
            unit.backend().add(v.of(input), v.of(other), v.of(output));
        }

        @Override
        public void backward(Backward g) {
            g.addOutput(input, output);
            g.addOutput(other, output);
        }
    }
}
