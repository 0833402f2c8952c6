package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A unit of a network on a device: its stages, with the constants that they need. */
public final class Unit {
    private final Backend backend;
    private final UnitShape shape;
    private final float epsilon;
    private final List<Stage> stages;
    private final Map<Layer, Stage.OfLayer> layers = new HashMap<>();
    private final Map<Stage, List<View>> constants = new HashMap<>();
    private final ArrayPlan kept;
    private final ArrayPlan overwritten;

    Unit(Backend backend, Scope scope, VisionTransformer model, UnitShape shape) {
        this.backend = backend;
        this.shape = shape;
        this.epsilon = model.config().epsilon();
        this.stages = List.copyOf(shape.stages());
        for (Stage stage : stages) {
            constants.put(stage, stage.constants(model).stream().map(tensor -> Networks.array(backend, scope, tensor)).toList());
            if (stage instanceof Stage.OfLayer own) {
                layers.put(own.layer(), own);
            }
        }
        this.kept = new ArrayPlan(stages, true);
        this.overwritten = new ArrayPlan(stages, false);
    }

    /** What it is. */
    public UnitShape shape() {
        return shape;
    }

    /**
     * Room for a pass of some images, owned by the scope; operands and outputs of the layers last.
     *
     * @param input {@code [images, input tokens, input dim]}
     * @param output {@code [images, output tokens, output dim]}
     */
    public Pass pass(Scope scope, View input, View output) {
        return new Pass(this, kept.allocate(scope, input, output));
    }

    /** The same with a new output. */
    public Pass pass(Scope scope, View input) {
        return pass(scope, input, output(scope, input.size(0)));
    }

    /** The forward pass alone: nothing is kept but the output, shaped as {@link #pass} takes it. */
    public void forward(Arithmetic arithmetic, View input, View output) {
        try (Scope scope = backend.scope()) {
            new Pass(this, overwritten.allocate(scope, input, output)).forward(arithmetic);
        }
    }

    /** A new array for the output of so many images. */
    public View output(Scope scope, int images) {
        return scope.floats(shape.output().arraySizes(images));
    }

    /** A new array for the input of so many images. */
    public View input(Scope scope, int images) {
        return scope.floats(shape.input().arraySizes(images));
    }

    List<Stage> stages() {
        return stages;
    }

    Stage.OfLayer stage(Layer layer) {
        return layers.get(layer);
    }

    List<View> constants(Stage stage) {
        return constants.get(stage);
    }

    Backend backend() {
        return backend;
    }

    float epsilon() {
        return epsilon;
    }
}
