package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Some images on their way through a unit: memory for what it computes, and the computation. Runs on the calling thread;
 * disjoint {@link #images} may run side by side.
 */
public final class Pass {
    private final Unit unit;
    private final Values values;

    Pass(Unit unit, Values values) {
        this.unit = unit;
        this.values = values;
    }

    /** What comes in, {@code [images, tokens, dim]}. */
    public View input() {
        return of(unit.shape().input());
    }

    /** What comes out. */
    public View output() {
        return of(unit.shape().output());
    }

    /** The same of images {@code [from, to)}. */
    public Pass images(int from, int to) {
        return new Pass(unit, values.images(from, to));
    }

    /** From the input to the output. */
    public void forward(Arithmetic arithmetic) {
        unit.stages().forEach(stage -> stage.forward(this, arithmetic));
    }

    /**
     * Gradients of the loss with respect to the input and every layer's output, from the gradient at the output and what
     * {@link #forward} in float32 left. No gradient of a weight is computed.
     *
     * @param atOutput the gradient at the output
     * @param scope owns the gradients
     */
    public Values backward(FloatArithmetic arithmetic, View atOutput, Scope scope) {
        return Backward.of(this, arithmetic, atOutput, scope);
    }

    /** New arrays like those of the layers' outputs. */
    public Values likeOutputs(Scope scope) {
        Map<String, View> arrays = new HashMap<>();
        for (Layer layer : unit.shape().layers()) {
            Value output = unit.stage(layer).output();
            arrays.put(output.array(), scope.floats(sizes(output)));
        }
        return new Values(arrays);
    }

    /**
     * Operands and outputs of the layers, after {@link #forward} of a pass that keeps them.
     *
     * @param gradients at the layers' outputs, to go with them
     */
    public List<LayerData> layers(Optional<Values> gradients) {
        return unit.shape().layers().stream().map(layer -> data(unit.stage(layer), gradients)).toList();
    }

    private LayerData data(Stage.OfLayer stage, Optional<Values> gradients) {
        Optional<View> gradient = gradients.map(g -> g.of(stage.output()));
        if (stage instanceof Stage.Product product) {
            return new LayerData(product.layer(), of(product.input()), Optional.of(product.right(this)), of(product.output()), gradient);
        }
        return LayerData.linear(stage.layer(), of(stage.input()), of(stage.output()), gradient);
    }

    /** A value of these images. */
    View of(Value value) {
        return values.of(value);
    }

    /** Sizes of the array of a value, {@code [images, sizes]}. */
    int[] sizes(Value value) {
        return value.arraySizes(input().size(0));
    }

    List<View> constants(Stage stage) {
        return unit.constants(stage);
    }

    List<Stage> stages() {
        return unit.stages();
    }

    Backend backend() {
        return unit.backend();
    }

    float epsilon() {
        return unit.epsilon();
    }
}
