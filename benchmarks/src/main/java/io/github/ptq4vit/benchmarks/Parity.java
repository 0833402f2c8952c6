package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.BlockShape;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.Unit;
import io.github.ptq4vit.model.Values;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.TensorSource;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Compares the float32 network and its gradients with what {@code parity.py} left of PyTorch's in a folder. Arguments: the
 * folder and the image size.
 */
public final class Parity {
    private static final double BOUND = 1e-4;

    private final Backend backend;
    private final Scope scope;
    private final TensorSource outputs;
    private final TensorSource gradients;
    private final SafetensorsFile extra;
    /** Worst deviation by kind, and how many tensors were compared. */
    private final Map<String, Double> worst = new TreeMap<>();
    private final Map<String, Integer> counts = new TreeMap<>();
    private final List<String> tooFar = new ArrayList<>();
    private int attention;

    private Parity(Backend backend, Scope scope, Path folder) {
        this.backend = backend;
        this.scope = scope;
        this.outputs = ModelReader.renamed(SafetensorsFile.open(folder.resolve("outputs.safetensors")));
        this.gradients = ModelReader.renamed(SafetensorsFile.open(folder.resolve("gradients.safetensors")));
        this.extra = SafetensorsFile.open(folder.resolve("extra.safetensors"));
    }

    /** Runs it; exit code 1 if something is off by more than the bound. */
    public static void main(String[] args) {
        Path folder = Path.of(args[0]);
        VisionTransformer model = ModelReader.read(folder.resolve("weights.safetensors"),
                ReadOptions.NONE.withImageSize(Integer.parseInt(args[1])));
        boolean good;
        try (Backend backend = Backends.open("auto"); Scope scope = backend.scope()) {
            Parity parity = new Parity(backend, scope, folder);
            parity.run(model);
            good = parity.report(model.config());
        }
        System.exit(good ? 0 : 1);
    }

    private void run(VisionTransformer model) {
        Architecture config = model.config();
        Network network = new Network(backend, scope, model);
        FloatArithmetic arithmetic = new FloatArithmetic(backend, scope, model);
        Tensor image = extra.read("image");
        compare("logits", "logits", extra.read("logits"), network.logits(arithmetic, image).toArray(), 1);

        View patches = network.patches(image, scope);
        View embedded = scope.floats(1, patches.size(1), config.dim());
        arithmetic.linear(config.embedding(), patches.rows(), embedded.rows());
        layer("output", outputs, config.embedding(), embedded);
        View tokens = network.units().get(0).input(scope, 1);
        network.embed(arithmetic, patches, tokens, scope);
        List<Values> values = new ArrayList<>();
        for (Unit unit : network.units()) {
            View output = unit.output(scope, 1);
            Values own = unit.values(scope, tokens, output);
            unit.forward(arithmetic, own);
            unit.layers(own, Optional.empty()).forEach(this::forward);
            values.add(own);
            tokens = output;
        }
        backward(network, arithmetic, values, embedded, tokens);
    }

    private void forward(LayerData data) {
        if (!data.layer().role().isMatmul()) {
            layer("output", outputs, data.layer(), data.output());
        } else if (data.layer().role() == LayerRole.PROBABILITY_VALUE) {
            attention("probabilities." + attention++, "softmax", data.left(), 1);
        }
    }

    private void backward(Network network, FloatArithmetic arithmetic, List<Values> values, View embedded, View last) {
        Architecture config = network.config();
        int heads = config.headLayers().size();
        View pooled = scope.floats(heads, 1, config.classifierInputs());
        network.pool(last, pooled, scope);
        View classified = scope.floats(heads, 1, config.classes());
        network.classify(arithmetic, pooled, classified);
        View dOutputs = scope.floats(heads, 1, config.classes());
        for (int head = 0; head < heads; head++) {
            Layer layer = config.headLayers().get(head);
            layer("output", outputs, layer, classified.at(head));
            backend.upload(gradients.read(layer.name() + ".weight"), dOutputs.at(head));
        }
        View gradient = scope.floats(last.sizes());
        network.headBackward(arithmetic, last, dOutputs, gradient, scope);
        for (int i = values.size() - 1; i >= 0; i--) {
            Unit unit = network.units().get(i);
            Values g = unit.backward(arithmetic, values.get(i), gradient, scope);
            for (LayerData data : unit.layers(values.get(i), Optional.of(g))) {
                View own = data.gradient().orElseThrow();
                if (!data.layer().role().isMatmul()) {
                    layer("gradient", gradients, data.layer(), own);
                } else if (data.layer().role() == LayerRole.QUERY_KEY) {
                    // PyTorch's is behind the scaling, ours before it where the products are scaled
                    BlockShape shape = (BlockShape) unit.shape();
                    attention("softmax_gradient." + --attention, "softmax gradient", own,
                            shape.windows().isPresent() ? 1 : Math.sqrt(shape.headDim()));
                }
            }
            gradient = g.of(unit.shape().input());
        }
        View dEmbedded = scope.floats(embedded.sizes());
        network.embedBackward(embedded, gradient, dEmbedded);
        layer("gradient", gradients, config.embedding(), dEmbedded);
    }

    /** PyTorch's fused attention shows no softmax; then only the layers around it are compared. */
    private void attention(String name, String kind, View ours, double factor) {
        if (extra.contains(name)) {
            compare(kind, name, extra.read(name), numbers(ours), factor);
        }
    }

    private void layer(String kind, TensorSource theirs, Layer layer, View ours) {
        compare(kind + " of " + layer.role().suffix(), layer.name(), theirs.read(layer.name() + ".weight"), numbers(ours), 1);
    }

    private void compare(String kind, String name, Tensor theirs, float[] ours, double factor) {
        float[] expected = theirs.toArray();
        double largest = 0;
        double off = expected.length == ours.length ? 0 : Double.POSITIVE_INFINITY;
        for (int i = 0; i < Math.min(expected.length, ours.length); i++) {
            largest = Math.max(largest, Math.abs(expected[i]));
            double difference = Math.abs(expected[i] - ours[i] * factor);
            off = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : Math.max(off, difference);
        }
        double relative = off / Math.max(largest, Float.MIN_NORMAL);
        worst.merge(kind, relative, Math::max);
        counts.merge(kind, 1, Integer::sum);
        if (!(relative <= BOUND)) {
            tooFar.add(String.format(Locale.ROOT, "%s of %s: %.2e", kind, name, relative));
        }
    }

    private float[] numbers(View view) {
        View dense = scope.floats(view.sizes());
        backend.copy(view, dense);
        return backend.download(dense).toArray();
    }

    private boolean report(Architecture config) {
        System.out.printf(Locale.ROOT, "  recognised as %s, %d layers, %.1f M parameters%n", config.name(),
                config.layers().size(), config.parameters() / 1e6);
        worst.forEach((kind, relative) -> System.out.printf(Locale.ROOT, "  %-28s %3d tensors, worst %.1e%n", kind,
                counts.get(kind), relative));
        tooFar.forEach(line -> System.out.println("  TOO FAR: " + line));
        return tooFar.isEmpty();
    }
}
