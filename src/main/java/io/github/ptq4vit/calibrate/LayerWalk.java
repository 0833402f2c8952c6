package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.Unit;
import io.github.ptq4vit.model.Values;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * Shows every layer of the float32 network with its operands, its output and the squared gradients of the loss there. A forward
 * pass keeps every unit's input. Then the units are processed last to first, from the classifiers to the patch embedding: each
 * recomputes its inside, takes the gradients at its output one step further back, shows its layers, and its inside is dropped. So
 * the network runs forward twice and backward once a draw, and memory is the units' inputs and one unit.
 */
final class LayerWalk {
    private final VisionTransformer model;
    private final Architecture shape;
    private final Backend backend;
    private final Optional<LossGradient> loss;
    private final CalibrationImages images;
    private final Timings timings;
    private final int count;

    /** @param loss whose gradients are wanted; none for layers without gradients */
    LayerWalk(VisionTransformer model, Backend backend, Optional<LossGradient> loss, CalibrationImages images, Timings timings) {
        this.model = model;
        this.shape = model.config();
        this.backend = backend;
        this.loss = loss;
        this.images = images;
        this.timings = timings;
        this.count = images.ids().size();
        Shape expected = Shape.of(count, shape.channels(), shape.imageSize(), shape.imageSize());
        if (!images.pixels().shape().equals(expected)) {
            throw new CalibrationException("Calibration images of shape " + images.pixels().shape() + " do not fit "
                    + shape.name() + ", which takes " + expected);
        }
    }

    /** Takes the layers of a unit. */
    @FunctionalInterface
    interface Visitor {
        /**
         * The layers of a unit: an embedding, a block, a merging of tokens, or the classifiers.
         *
         * @param name of the unit: {@code embedding}, {@code blocks.3}, {@code head}
         * @param index of the unit in the network, -1 for the embedding, the number of units for the classifiers
         * @param layers in network order; the gradients are means of squares over the draws
         * @param scope owns the arrays of the layers, which are gone afterwards
         */
        void unit(String name, int index, List<LayerData> layers, Scope scope);
    }

    /** The float32 network while it is walked through, with the inputs of its units. */
    record Walked(Network network, FloatArithmetic arithmetic, UnitInputs inputs) {
    }

    /** Walks through the network once, backwards; the visitor is made when the forward pass is done. */
    void run(Function<Walked, Visitor> makeVisitor) {
        run(makeVisitor, false);
    }

    /** The same from the patch embedding on: the gradients at all units' outputs are found first and kept, so the network runs once more. */
    void runForward(Function<Walked, Visitor> makeVisitor) {
        run(makeVisitor, true);
    }

    private void run(Function<Walked, Visitor> makeVisitor, boolean forward) {
        try (Scope scope = backend.scope()) {
            Network network = new Network(backend, scope, model);
            FloatArithmetic arithmetic = new FloatArithmetic(backend, scope, model);
            List<Unit> units = network.units();
            try (UnitInputs inputs = new UnitInputs(backend, scope, units, count)) {
                timings.time("forward pass", () -> forward(network, arithmetic, inputs));
                Visitor visitor = makeVisitor.apply(new Walked(network, arithmetic, inputs));

                Visitor onTheWayBack = forward ? (name, index, layers, temporary) -> {
                } : visitor;
                // one array of gradients a draw, taken back from unit to unit
                List<View> gradients = head(network, arithmetic, inputs, scope, onTheWayBack);
                List<List<View>> atOutputs = new ArrayList<>();
                for (int unit = units.size() - 1; unit >= 0; unit--) {
                    atOutputs.add(0, gradients);
                    gradients = unit(network, unit, arithmetic, inputs, gradients, scope, onTheWayBack, forward);
                }
                embedding(network, arithmetic, gradients, visitor);
                for (int unit = 0; forward && unit <= units.size(); unit++) {
                    try (Scope temporary = backend.scope()) {
                        if (unit < units.size()) {
                            unit(network, unit, arithmetic, inputs, atOutputs.get(unit), temporary, visitor, true);
                        } else {
                            head(network, arithmetic, inputs, temporary, visitor);
                        }
                    }
                }
            }
        }
    }

    private void forward(Network network, FloatArithmetic arithmetic, UnitInputs inputs) {
        backend.parallel(count, (from, to, scope) -> {
            View patches = network.patches(images.pixels().slice(from, to), scope);
            View input = inputs.room(0, from, to, scope);
            network.embed(arithmetic, patches, input, scope);
            inputs.keep(0, from, input);
            for (int unit = 0; unit < network.units().size(); unit++) {
                View output = inputs.room(unit + 1, from, to, scope);
                network.units().get(unit).forward(arithmetic, input, output);
                inputs.keep(unit + 1, from, output);
                input = output;
            }
        });
    }

    /** The classifiers; returns the gradients at the last unit's output, one array a draw, owned by the scope. */
    private List<View> head(Network network, FloatArithmetic arithmetic, UnitInputs inputs, Scope owner,
            Visitor visitor) {
        List<Layer> heads = shape.headLayers();
        int classes = shape.classes();
        int last = network.units().size();
        List<View> gradients = arrays(loss.map(LossGradient::draws).orElse(0), inputs.sizes(last), owner);
        try (Scope scope = backend.scope()) {
            View tokens = inputs.read(last, 0, count, scope);
            View pooled = scope.floats(heads.size(), count, shape.classifierInputs());
            View outputs = scope.floats(heads.size(), count, classes);
            View squares = scope.floats(heads.size(), count, classes);
            backend.zero(squares);
            timings.time("gradients", () -> backend.parallel(count, (from, to, inner) -> {
                View ownPooled = inner.floats(heads.size(), to - from, shape.classifierInputs());
                View ownOutputs = inner.floats(heads.size(), to - from, classes);
                network.pool(tokens.slice(0, from, to), ownPooled, inner);
                network.classify(arithmetic, ownPooled, ownOutputs);
                backend.copy(ownPooled, pooled.slice(1, from, to));
                backend.copy(ownOutputs, outputs.slice(1, from, to));
                if (!gradients.isEmpty()) {
                    headGradients(network, arithmetic, from, tokens.slice(0, from, to), ownOutputs, squares.slice(1, from, to),
                            gradients.stream().map(g -> g.slice(0, from, to)).toList(), inner);
                }
            }));
            List<LayerData> data = new ArrayList<>();
            for (int h = 0; h < heads.size(); h++) {
                data.add(LayerData.linear(heads.get(h), pooled.at(h), outputs.at(h),
                        gradients.isEmpty() ? Optional.empty() : Optional.of(squares.at(h))));
            }
            visitor.unit("head", network.units().size(), data, scope);
        }
        return gradients;
    }

    private static List<View> arrays(int draws, int[] sizes, Scope scope) {
        return IntStream.range(0, draws).mapToObj(draw -> scope.floats(sizes)).toList();
    }

    private void headGradients(Network network, FloatArithmetic arithmetic, int firstImage, View tokens, View outputs,
            View squares, List<View> gradients, Scope scope) {
        int heads = outputs.size(0);
        int own = outputs.size(1);
        int classes = outputs.size(2);
        View byImage = scope.floats(own, heads, classes);
        backend.copy(outputs.permute(1, 0, 2), byImage);
        Tensor logits = Network.meanOfHeads(backend.download(byImage));
        Tensor dOutputs = Tensor.zeros(loss.orElseThrow().draws(), heads, own, classes);
        for (int image = 0; image < own; image++) {
            float[][] atLogits = loss.orElseThrow().at(images.ids().get(firstImage + image), Predictions.row(logits, image));
            for (int draw = 0; draw < atLogits.length; draw++) {
                for (int h = 0; h < heads; h++) {
                    for (int c = 0; c < classes; c++) {
                        dOutputs.data().put(((draw * heads + h) * own + image) * classes + c, atLogits[draw][c] / heads);
                    }
                }
            }
        }
        for (int draw = 0; draw < gradients.size(); draw++) {
            View d = scope.floats(heads, own, classes);
            backend.upload(dOutputs.slice(draw, draw + 1).reshape(heads, own, classes), d);
            network.headBackward(arithmetic, tokens, d, gradients.get(draw), scope);
            View sum = scope.floats(heads, own, classes);
            backend.copy(squares, sum);
            backend.addSquare(d, 1f / gradients.size(), sum);
            backend.copy(sum, squares);
        }
    }

    /** One unit; takes the gradients from its output to its input, in the same memory where they are as large and not kept. */
    private List<View> unit(Network network, int index, FloatArithmetic arithmetic, UnitInputs inputs, List<View> atOutput,
            Scope owner, Visitor visitor, boolean keep) {
        Unit unit = network.units().get(index);
        boolean weighted = !atOutput.isEmpty();
        List<View> atInput = !keep && Arrays.equals(inputs.sizes(index), inputs.sizes(index + 1)) ? atOutput
                : arrays(atOutput.size(), inputs.sizes(index), owner);
        try (Scope scope = backend.scope()) {
            View input = inputs.read(index, 0, count, scope);
            View output = inputs.room(index + 1, 0, count, scope);
            Values values = unit.values(scope, input, output);
            Optional<Values> squares = weighted ? Optional.of(unit.layerOutputs(scope, count)) : Optional.empty();
            timings.time("gradients", () -> backend.parallel(count, (from, to, inner) -> {
                Values own = values.images(from, to);
                unit.forward(arithmetic, own);
                for (int draw = 0; draw < atOutput.size(); draw++) {
                    try (Scope temporary = backend.scope()) {
                        Values gradients = unit.backward(arithmetic, own, atOutput.get(draw).slice(0, from, to), temporary);
                        addSquares(gradients, squares.orElseThrow().images(from, to), 1f / atOutput.size(), draw == 0);
                        backend.copy(gradients.of(unit.shape().input()), atInput.get(draw).slice(0, from, to));
                    }
                }
            }));
            visitor.unit(unit.shape().name(), index, unit.layers(values, squares), scope);
        }
        return atInput;
    }

    private void addSquares(Values gradients, Values sums, float factor, boolean first) {
        sums.arrays().forEach((name, sum) -> {
            if (first) {
                backend.zero(sum);
            }
            backend.addSquare(gradients.arrays().get(name), factor, sum);
        });
    }

    /** The patch embedding: the last unit to go by. */
    private void embedding(Network network, FloatArithmetic arithmetic, List<View> gradients, Visitor visitor) {
        Layer layer = shape.embedding();
        int perImage = shape.grid() * shape.grid();
        try (Scope scope = backend.scope()) {
            View patches = scope.floats(count, perImage, shape.patchElements());
            View output = scope.floats(count, perImage, shape.dim());
            View squares = scope.floats(count, perImage, shape.dim());
            timings.time("gradients", () -> backend.parallel(count, (from, to, inner) -> {
                backend.copy(network.patches(images.pixels().slice(from, to), inner), patches.slice(0, from, to));
                View own = output.slice(0, from, to);
                arithmetic.linear(layer, patches.slice(0, from, to).rows(), own.rows());
                backend.zero(squares.slice(0, from, to));
                View atOutput = inner.floats(own.sizes());
                for (View gradient : gradients) {
                    network.embedBackward(own, gradient.slice(0, from, to), atOutput);
                    backend.addSquare(atOutput, 1f / gradients.size(), squares.slice(0, from, to));
                }
            }));
            visitor.unit("embedding", -1, List.of(LayerData.linear(layer, patches, output,
                    gradients.isEmpty() ? Optional.empty() : Optional.of(squares))), scope);
        }
    }
}
