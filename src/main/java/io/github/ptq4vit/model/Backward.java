package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Gradients on their way back through a unit, from the last stage to the first. An array is read as it is, or each of its parts
 * once: then the gradients of the parts lie side by side.
 *
 * @param values what was computed forward
 * @param scope owns gradients and temporaries
 * @param gradients arrays by name; where two are equal they may be one, so what was written stays
 * @param reached values whose gradients have been added to
 */
record Backward(Unit unit, Values values, FloatArithmetic arithmetic, Scope scope, Map<String, View> gradients, Set<Value> reached) {

    Backend backend() {
        return unit.backend();
    }

    /** The gradient at a value that all its readers have added to. */
    View at(Value value) {
        return value.of(gradients.get(value.array()));
    }

    /**
     * Adds to the gradient at a value.
     *
     * @param written writes what is to be added
     */
    void add(Value value, Consumer<View> written) {
        boolean first = reached.add(value);
        View before = gradients.get(value.array());
        // before the first there may be other parts of the array
        View array = first && before != null ? before : scope.floats(value.arraySizes(values.images()));
        written.accept(value.of(array));
        if (!first) {
            backend().add(array, before, array);
        }
        gradients.put(value.array(), array);
    }

    /** Adds to the gradient at an input the one at the output. */
    void addOutput(Value input, Value output) {
        View gradient = gradients.get(output.array());
        if (reached.add(input)) {
            gradients.put(input.array(), gradient);
        } else {
            View sum = scope.floats(gradient.sizes());
            backend().add(gradient, gradients.get(input.array()), sum);
            gradients.put(input.array(), sum);
        }
    }
}
