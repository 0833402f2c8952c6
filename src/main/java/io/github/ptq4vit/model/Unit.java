package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A unit of a network on a device: its stages, with the constants that they need. Runs on the calling thread; disjoint {@link
 * Values#images} may go through it side by side.
 */
public final class Unit {
    private final Backend backend;
    private final UnitShape shape;
    private final float epsilon;
    private final List<Stage> stages;
    private final Map<String, List<View>> constants = new HashMap<>();
    private final Map<Layer, Stage.OfLayer> byLayer = new HashMap<>();
    private final ArrayPlan keeping;
    private final ArrayPlan overwriting;

    Unit(Backend backend, Scope scope, VisionTransformer model, UnitShape shape) {
        this.backend = backend;
        this.shape = shape;
        this.epsilon = model.config().epsilon();
        this.stages = List.copyOf(shape.stages());
        for (Stage stage : stages) {
            constants.put(stage.output().array(), stage.constants(model).stream().map(tensor -> Network.array(backend, scope, tensor)).toList());
            if (stage instanceof Stage.OfLayer own) {
                byLayer.put(own.layer(), own);
            }
        }
        this.keeping = new ArrayPlan(stages, true);
        this.overwriting = new ArrayPlan(stages, false);
    }

    /** What it is. */
    public UnitShape shape() {
        return shape;
    }

    /** Its computation, in order. */
    public List<Stage> stages() {
        return stages;
    }

    /** A new array for the input of so many images. */
    public View input(Scope scope, int images) {
        return scope.floats(shape.input().arraySizes(images));
    }

    /** A new array for the output of so many images. */
    public View output(Scope scope, int images) {
        return scope.floats(shape.output().arraySizes(images));
    }

    /**
     * Room for what the unit computes of some images, owned by the scope.
     *
     * @param input {@code [images, input tokens, input dim]}
     * @param output {@code [images, output tokens, output dim]}
     */
    public Values values(Scope scope, View input, View output) {
        return keeping.allocate(scope, input, output);
    }

    /** From the input to the output; what gradients and layers need is kept. */
    public void forward(Arithmetic arithmetic, Values values) {
        stages.forEach(stage -> stage.forward(this, values, arithmetic));
    }

    /** The same with nothing kept but the output. */
    public void forward(Arithmetic arithmetic, View input, View output) {
        try (Scope scope = backend.scope()) {
            forward(arithmetic, overwriting.allocate(scope, input, output));
        }
    }

    /**
     * Gradients of the loss with respect to the input and every layer's output, from the gradient at the output. No gradient of a
     * weight is computed.
     *
     * @param values what {@link #forward} in float32 left
     * @param scope owns the gradients; where two are equal they may share memory, also that of the one at the output
     */
    public Values backward(FloatArithmetic arithmetic, Values values, View atOutput, Scope scope) {
        Map<String, View> gradients = new HashMap<>(Map.of(shape.output().array(), atOutput));
        Backward backward = new Backward(this, values, arithmetic, scope, gradients, new HashSet<>());
        for (int i = stages.size() - 1; i >= 0; i--) {
            stages.get(i).backward(backward);
        }
        return new Values(gradients);
    }

    /** New arrays like those of the layers' outputs of so many images. */
    public Values layerOutputs(Scope scope, int images) {
        Map<String, View> arrays = new HashMap<>();
        byLayer.values().forEach(stage -> arrays.put(stage.output().array(), scope.floats(stage.output().arraySizes(images))));
        return new Values(arrays);
    }

    /**
     * Operands and outputs of the layers.
     *
     * @param values what {@link #forward} left
     * @param gradients at the layers' outputs, to go with them
     */
    public List<LayerData> layers(Values values, Optional<Values> gradients) {
        return shape.layers().stream().map(layer -> byLayer.get(layer).data(values, gradients)).toList();
    }

    Backend backend() {
        return backend;
    }

    float epsilon() {
        return epsilon;
    }

    List<View> constants(Stage stage) {
        return constants.get(stage.output().array());
    }
}
