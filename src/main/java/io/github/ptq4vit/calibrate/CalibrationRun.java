package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Activations;
import io.github.ptq4vit.model.Block;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Gradients;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;

/**
 * One calibration from beginning to end. A forward pass keeps every block's input. Then the units go by from the head to
 * the embedding: each recomputes its inside, takes the gradients at its output one step further back, and with inputs,
 * outputs and squared gradients of its layers in hand their scales are searched at once; then its inside is dropped. So the
 * network runs forward twice and backward once a draw, and memory is the blocks' inputs and one block.
 */
final class CalibrationRun {
    private final VisionTransformer model;
    private final VitConfig shape;
    private final Backend backend;
    private final CalibrationConfig config;
    private final CalibrationImages images;
    private final Progress progress;
    private final Map<String, List<QuantizedLayer>> known;
    private final BiConsumer<String, List<QuantizedLayer>> onUnit;
    private final int count;
    private final LossGradient loss;
    private final Timings timings = new Timings();
    private final Map<String, QuantizedLayer> layers = new HashMap<>();
    private final List<SearchTrace> traces = new ArrayList<>();

    CalibrationRun(VisionTransformer model, Backend backend, CalibrationConfig config, CalibrationImages images,
            Progress progress, Map<String, List<QuantizedLayer>> known, BiConsumer<String, List<QuantizedLayer>> onUnit) {
        this.model = model;
        this.shape = model.config();
        this.backend = backend;
        this.config = config;
        this.images = images;
        this.progress = progress;
        this.known = known;
        this.onUnit = onUnit;
        this.count = images.ids().size();
        this.loss = new LossGradient(config);
        Shape expected = Shape.of(count, shape.channels(), shape.imageSize(), shape.imageSize());
        if (!images.pixels().shape().equals(expected)) {
            throw new CalibrationException("Calibration images of shape " + images.pixels().shape() + " do not fit "
                    + shape.name() + ", which takes " + expected);
        }
    }

    CalibrationResult run() {
        long start = System.nanoTime();
        Map<String, Double> scoringBefore = backend.scoringSeconds();
        try (Scope scope = backend.scope()) {
            Network network = new Network(backend, scope, model);
            FloatArithmetic arithmetic = new FloatArithmetic(backend, scope, model);
            List<View> inputs = new ArrayList<>();
            for (int block = 0; block <= shape.depth(); block++) {
                inputs.add(scope.floats(count, shape.tokens(), shape.dim()));
            }
            timings.time("forward pass", () -> forward(network, arithmetic, inputs));
            progress.advanced("forward pass", 0, shape.layers().size());

            // one array of gradients a draw, taken back from unit to unit
            List<View> gradients = new ArrayList<>();
            for (int draw = 0; draw < loss.draws() && config.metric().needsGradients(); draw++) {
                gradients.add(scope.floats(count, shape.tokens(), shape.dim()));
            }
            head(network, arithmetic, inputs.get(shape.depth()), gradients);
            for (int block = shape.depth() - 1; block >= 0; block--) {
                block(network.blocks().get(block), shape.block(block), arithmetic, inputs.get(block), inputs.get(block + 1),
                        gradients);
            }
            embedding(network, arithmetic, gradients);
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        timings.scored(scoringBefore, backend.scoringSeconds());
        List<String> order = shape.layers().stream().map(Layer::name).toList();
        traces.sort(Comparator.comparingInt(trace -> order.indexOf(trace.layer())));
        double searching = timings.seconds().entrySet().stream().filter(e -> e.getKey().startsWith("search"))
                .mapToDouble(Map.Entry::getValue).sum();
        return new CalibrationResult(config, images.ids(), order.stream().map(layers::get).toList(), List.copyOf(traces),
                seconds, searching, timings);
    }

    private void forward(Network network, FloatArithmetic arithmetic, List<View> inputs) {
        backend.parallel(count, (from, to, scope) -> {
            View patches = patches(network, from, to, scope);
            network.embed(arithmetic, patches, inputs.get(0).slice(0, from, to), scope);
            Activations room = Activations.allocate(scope, shape, inputs.get(0).slice(0, from, to),
                    inputs.get(1).slice(0, from, to));
            for (int block = 0; block < shape.depth(); block++) {
                network.blocks().get(block).forward(arithmetic, room.between(inputs.get(block).slice(0, from, to),
                        inputs.get(block + 1).slice(0, from, to)));
            }
        });
    }

    private View patches(Network network, int from, int to, Scope scope) {
        View pixels = scope.floats(to - from, shape.channels(), shape.imageSize(), shape.imageSize());
        backend.upload(images.pixels().slice(from, to), pixels);
        View patches = scope.floats((to - from) * shape.grid() * shape.grid(), shape.patchElements());
        network.unfold(pixels, patches);
        return patches;
    }

    /** The classifiers; writes the gradients at the last block's output. */
    private void head(Network network, FloatArithmetic arithmetic, View tokens, List<View> gradients) {
        List<Layer> heads = shape.headLayers();
        int classes = shape.classes();
        try (Scope scope = backend.scope()) {
            View pooled = scope.floats(heads.size(), count, shape.dim());
            View outputs = scope.floats(heads.size(), count, classes);
            View squares = scope.floats(heads.size(), count, classes);
            backend.zero(squares);
            timings.time("gradients", () -> backend.parallel(count, (from, to, inner) -> {
                View ownPooled = inner.floats(heads.size(), to - from, shape.dim());
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
                data.add(new LayerData(heads.get(h), pooled.at(h), Optional.empty(), outputs.at(h),
                        gradients.isEmpty() ? Optional.empty() : Optional.of(squares.at(h))));
            }
            search("head", data);
        }
    }

    private void headGradients(Network network, FloatArithmetic arithmetic, int firstImage, View tokens, View outputs,
            View squares, List<View> gradients, Scope scope) {
        int heads = outputs.size(0);
        int own = outputs.size(1);
        int classes = outputs.size(2);
        View byImage = scope.floats(own, heads, classes);
        backend.copy(outputs.permute(1, 0, 2), byImage);
        Tensor logits = Network.meanOfHeads(backend.download(byImage));
        Tensor dOutputs = Tensor.zeros(loss.draws(), heads, own, classes);
        for (int image = 0; image < own; image++) {
            float[][] atLogits = loss.at(images.ids().get(firstImage + image), LossGradient.row(logits, image));
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

    /** One block; takes the gradients from its output to its input. */
    private void block(Block block, String name, FloatArithmetic arithmetic, View input, View output,
            List<View> gradients) {
        try (Scope scope = backend.scope()) {
            boolean weighted = !gradients.isEmpty();
            Activations a = Activations.allocate(scope, shape, input, output);
            // means of the squared gradients, in the shapes of the gradients; at the input, whose are not needed, a stand-in
            Gradients squares = weighted ? Gradients.allocate(scope, a, input, scope.floats(input.sizes())) : null;
            timings.time("gradients", () -> backend.parallel(count, (from, to, inner) -> {
                Activations own = a.images(from, to);
                block.forward(arithmetic, own);
                for (int draw = 0; draw < gradients.size(); draw++) {
                    try (Scope temporary = backend.scope()) {
                        View atOutput = gradients.get(draw).slice(0, from, to);
                        Gradients g = Gradients.allocate(temporary, own, atOutput);
                        block.backward(arithmetic, own, g, temporary);
                        squares.images(from, to).addSquares(backend, g, 1f / gradients.size(), draw == 0);
                        backend.copy(g.input(), atOutput);
                    }
                }
            }));
            search(name, block.layers().stream().map(layer -> data(layer, a, Optional.ofNullable(squares))).toList());
        }
    }

    private LayerData data(Layer layer, Activations a, Optional<Gradients> w) {
        int heads = shape.heads();
        View queries = Activations.part(a.qkv(), 0, heads);
        View keys = Activations.part(a.qkv(), 1, heads);
        View values = Activations.part(a.qkv(), 2, heads);
        return switch (layer.role()) {
            case QKV -> linear(layer, a.norm1(), a.qkv(), w.map(Gradients::qkv));
            case QUERY_KEY -> new LayerData(layer, queries, Optional.of(keys.transpose()), a.scores(), w.map(Gradients::scores));
            case PROBABILITY_VALUE -> new LayerData(layer, a.probabilities(), Optional.of(values),
                    Activations.heads(a.context(), heads), w.map(g -> Activations.heads(g.context(), heads)));
            case PROJECTION -> linear(layer, a.context(), a.projection(), w.map(Gradients::projection));
            case FC1 -> linear(layer, a.norm2(), a.fc1(), w.map(Gradients::fc1));
            case FC2 -> linear(layer, a.gelu(), a.fc2(), w.map(Gradients::output));
            default -> throw new IllegalArgumentException("Not a layer of a block: " + layer);
        };
    }

    private static LayerData linear(Layer layer, View x, View y, Optional<View> w) {
        return new LayerData(layer, x.rows(), Optional.empty(), y.rows(), w.map(View::rows));
    }

    /** The patch embedding: the last unit to go by. */
    private void embedding(Network network, FloatArithmetic arithmetic, List<View> gradients) {
        Layer layer = shape.layers().get(0);
        int perImage = shape.grid() * shape.grid();
        try (Scope scope = backend.scope()) {
            View patches = scope.floats(count, perImage, shape.patchElements());
            View output = scope.floats(count, perImage, shape.dim());
            View squares = scope.floats(count, perImage, shape.dim());
            timings.time("gradients", () -> backend.parallel(count, (from, to, inner) -> {
                View own = patches(network, from, to, inner);
                backend.copy(own.reshape(to - from, perImage, shape.patchElements()), patches.slice(0, from, to));
                arithmetic.linear(layer, own, output.slice(0, from, to).rows());
                backend.zero(squares.slice(0, from, to));
                for (View gradient : gradients) {
                    View atPatches = inner.floats(to - from, perImage, shape.dim());
                    backend.copy(gradient.slice(0, from, to).slice(1, shape.prefixTokens(), shape.tokens()), atPatches);
                    backend.addSquare(atPatches, 1f / gradients.size(), squares.slice(0, from, to));
                }
            }));
            search("embedding", List.of(linear(layer, patches, output,
                    gradients.isEmpty() ? Optional.empty() : Optional.of(squares))));
        }
    }

    private void search(String unit, List<LayerData> data) {
        List<QuantizedLayer> found = known.get(unit);
        if (found == null) {
            found = new ArrayList<>();
            LayerCalibration calibration = new LayerCalibration(backend, model, config, timings);
            for (LayerData layer : data) {
                LayerCalibration.Outcome outcome = calibration.run(layer);
                found.add(outcome.layer());
                traces.addAll(outcome.traces());
                progress.advanced(layer.layer().name(), layers.size() + found.size(), shape.layers().size());
            }
            onUnit.accept(unit, List.copyOf(found));
        }
        found.forEach(layer -> layers.put(layer.name(), layer));
        progress.advanced(unit, layers.size(), shape.layers().size());
    }
}
