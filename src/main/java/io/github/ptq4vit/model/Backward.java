package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/** The way back through a unit: gradients at the values of a pass, in memory of a scope. */
final class Backward {
    private final Pass pass;
    private final FloatArithmetic arithmetic;
    private final Scope scope;
    private final Map<String, View> arrays = new HashMap<>();
    private final Set<Value> reached = new HashSet<>();

    private Backward(Pass pass, FloatArithmetic arithmetic, Scope scope) {
        this.pass = pass;
        this.arithmetic = arithmetic;
        this.scope = scope;
    }

    /** Gradients at all values of a pass, from the one at its output. Where two are equal they may share memory. */
    static Values of(Pass pass, FloatArithmetic arithmetic, View atOutput, Scope scope) {
        Backward backward = new Backward(pass, arithmetic, scope);
        List<Stage> stages = pass.stages();
        backward.arrays.put(stages.get(stages.size() - 1).output().array(), atOutput);
        for (int i = stages.size() - 1; i >= 0; i--) {
            stages.get(i).backward(backward);
        }
        return new Values(backward.arrays);
    }

    /** What was computed forward. */
    Pass pass() {
        return pass;
    }

    Backend backend() {
        return pass.backend();
    }

    FloatArithmetic arithmetic() {
        return arithmetic;
    }

    /** For temporaries. */
    Scope scope() {
        return scope;
    }

    /** The gradient at a value that all its readers have added to. */
    View at(Value value) {
        return value.of(arrays.get(value.array()));
    }

    /** Adds to the gradient at a value. */
    void add(Value value, Consumer<View> gradient) {
        boolean first = reached.add(value);
        View before = arrays.get(value.array());
        // parts of an array each have their place in it
        View array = first && before != null ? before : scope.floats(pass.sizes(value));
        gradient.accept(value.of(array));
        if (!first) {
            backend().add(array, before, array);
        }
        arrays.put(value.array(), array);
    }

    /** Adds the gradient at a stage's output to the one at an input. */
    void addOutput(Stage stage, Value input) {
        View gradient = arrays.get(stage.output().array());
        if (reached.add(input)) {
            arrays.put(input.array(), gradient);
        } else {
            View sum = scope.floats(pass.sizes(input));
            backend().add(gradient, arrays.get(input.array()), sum);
            arrays.put(input.array(), sum);
        }
    }
}
