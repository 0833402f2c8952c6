package io.github.ptq4vit.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.PlainBackend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Unit;
import io.github.ptq4vit.model.Values;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The float32 network and its gradients against PyTorch's: every layer's input and output, the logits, and the gradient of
 * the cross-entropy against the predicted label at every layer's output. The bound, {@code 1e-4} of a tensor's largest
 * magnitude, leaves room for two float32 computations of a deep network in different orders.
 */
class FloatAgreementTest {
    private static final double RELATIVE = 1e-4;
    /** The reference's gradients are of a mean over batches of so many images. */
    private static final int BATCH = 4;

    @TestFactory
    Stream<DynamicNode> theFloatNetworkIsTheReferences() {
        return GoldenFolder.folders().stream().map(this::folder);
    }

    private DynamicNode folder(Path path) {
        try (GoldenFolder folder = GoldenFolder.open(path)) {
            return DynamicContainer.dynamicContainer(folder.toString(), Stream.concat(Stream.of(
                    backend(path, "float64", PlainBackend::new, false), backend(path, "cpu", () -> new CpuBackend(2), false),
                    backend(path, "cpu, image by image", () -> new CpuBackend(2), true)),
                    BackendUnderTest.gpus().map(gpu -> backend(path, gpu.name(), gpu.open(), false))));
        }
    }

    private DynamicNode backend(Path path, String name, Supplier<Backend> open, boolean imageByImage) {
        return DynamicTest.dynamicTest(name, () -> {
            Map<String, Double> worst = new TreeMap<>();
            try (GoldenFolder folder = GoldenFolder.open(path); Backend backend = open.get()) {
                int images = folder.inputs().info("calib").shape().size(0);
                int step = imageByImage ? 1 : images;
                for (int from = 0; from < images; from += step) {
                    try (Scope scope = backend.scope()) {
                        new Comparison(folder, backend, scope, name, from, from + step, worst).run();
                    }
                }
                System.out.printf(Locale.ROOT, "%s, %s: worst deviation of the float network from the reference, relative to "
                        + "the largest magnitude, bound %.0e: %s%n", folder, name, RELATIVE, text(worst));
            }
        });
    }

    private static String text(Map<String, Double> worst) {
        return worst.entrySet().stream().map(e -> String.format(Locale.ROOT, "%s %.1e", e.getKey(), e.getValue()))
                .collect(Collectors.joining(", "));
    }

    /** One forward and backward pass of calibration images {@code [from, to)}. */
    private static final class Comparison {
        private final GoldenFolder folder;
        private final Backend backend;
        private final Scope scope;
        private final String name;
        private final Architecture config;
        private final Network network;
        private final FloatArithmetic arithmetic;
        private final int images;
        private final int from;
        private final Map<String, Double> worst;

        Comparison(GoldenFolder folder, Backend backend, Scope scope, String name, int from, int to, Map<String, Double> worst) {
            this.folder = folder;
            this.backend = backend;
            this.scope = scope;
            this.name = name;
            VisionTransformer model = GoldenVit.model(folder);
            this.config = model.config();
            this.network = new Network(backend, scope, model);
            this.arithmetic = new FloatArithmetic(backend, scope, model);
            this.images = to - from;
            this.from = from;
            this.worst = worst;
        }

        void run() {
            Tensor calib = folder.inputs().read("calib").slice(from, from + images);
            View patches = network.patches(calib, scope);
            View tokens = network.units().get(0).input(scope, images);
            network.embed(arithmetic, patches, tokens, scope);
            View embedded = scope.floats(images, config.grid() * config.grid(), config.dim());
            arithmetic.linear(config.embedding(), patches.rows(), embedded.rows());
            compare(config.embedding().name(), "output", channelsFirst(embedded));

            List<Values> values = new ArrayList<>();
            View input = tokens;
            for (Unit unit : network.units()) {
                View output = unit.output(scope, images);
                Values own = unit.values(scope, input, output);
                unit.forward(arithmetic, own);
                unit.layers(own, Optional.empty()).forEach(this::forward);
                values.add(own);
                input = output;
            }
            int heads = config.headLayers().size();
            View pooled = scope.floats(heads, images, config.features());
            network.pool(input, pooled, scope);
            View outputs = scope.floats(heads, images, config.classes());
            network.classify(arithmetic, pooled, outputs);
            for (int h = 0; h < heads; h++) {
                compare(config.headLayers().get(h).name(), "input", pooled.at(h));
                compare(config.headLayers().get(h).name(), "output", outputs.at(h));
            }
            View byImage = scope.floats(images, heads, config.classes());
            backend.copy(outputs.permute(1, 0, 2), byImage);
            Tensor logits = Network.meanOfHeads(backend.download(byImage));
            compare("logits", folder.raw().read("logits"), numbers(upload(logits)), 1);
            compare("logits", folder.raw().read("logits"), numbers(upload(network.logits(arithmetic, calib))), 1);
            backward(values, embedded, input, logits);
        }

        private void forward(LayerData data) {
            String layer = data.layer().name();
            if (data.right().isPresent()) {
                compare(layer, "input_A", data.left());
                compare(layer, "input_B", data.right().get());
            } else {
                compare(layer, "input", data.left());
            }
            compare(layer, "output", data.output());
        }

        private void backward(List<Values> values, View embedded, View last, Tensor logits) {
            int heads = config.headLayers().size();
            View dOutputs = upload(labelGradients(logits, heads));
            for (int h = 0; h < heads; h++) {
                compare(config.headLayers().get(h).name(), "grad_pseudolabel", dOutputs.at(h));
            }
            View gradient = scope.floats(last.sizes());
            network.headBackward(arithmetic, last, dOutputs, gradient, scope);
            for (int i = values.size() - 1; i >= 0; i--) {
                Unit unit = network.units().get(i);
                Values g = unit.backward(arithmetic, values.get(i), gradient, scope);
                unit.layers(values.get(i), Optional.of(g)).forEach(data ->
                        compare(data.layer().name(), "grad_pseudolabel", data.gradient().orElseThrow()));
                gradient = g.of(unit.shape().input());
            }
            View dEmbedded = scope.floats(embedded.sizes());
            network.embedBackward(embedded, gradient, dEmbedded);
            compare(config.embedding().name(), "grad_pseudolabel", channelsFirst(dEmbedded));
        }

        /** {@code (softmax - onehot of the largest) / heads}, {@code [heads, images, classes]}. */
        private static Tensor labelGradients(Tensor logits, int heads) {
            int images = logits.shape().size(0);
            int classes = logits.shape().size(1);
            float[] z = logits.toArray();
            Tensor gradients = Tensor.zeros(heads, images, classes);
            for (int image = 0; image < images; image++) {
                int best = 0;
                double sum = 0;
                for (int c = 0; c < classes; c++) {
                    best = z[image * classes + c] > z[image * classes + best] ? c : best;
                    sum += Math.exp(z[image * classes + c]);
                }
                for (int i = 0; i < heads * classes; i++) {
                    int c = i % classes;
                    double d = Math.exp(z[image * classes + c]) / sum - (c == best ? 1 : 0);
                    gradients.data().put((i / classes * images + image) * classes + c, (float) (d / heads));
                }
            }
            return gradients;
        }

        private void compare(String layer, String what, View ours) {
            if (!folder.hasRaw(layer)) {
                return;
            }
            Tensor golden = folder.raw(layer, what);
            assertEquals(golden.shape().size(-1), ours.size(-1), layer + "." + what);
            compare(layer + "." + what, golden, numbers(ours), what.startsWith("grad") ? 1.0 / BATCH : 1);
        }

        private void compare(String what, Tensor golden, double[] ours, double factor) {
            double largest = 0;
            for (int i = 0; i < golden.data().limit(); i++) {
                largest = Math.max(largest, Math.abs(golden.data().get(i)));
            }
            double deviation = 0;
            int products = golden.shape().size(0) / folder.inputs().info("calib").shape().size(0);
            Tensor own = golden.slice(from * products, (from + images) * products);
            assertEquals(own.data().limit(), ours.length, what);
            for (int i = 0; i < ours.length; i++) {
                double difference = Math.abs(own.data().get(i) - ours[i] * factor);
                deviation = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : Math.max(deviation, difference);
            }
            double relative = deviation / Math.max(largest, Float.MIN_NORMAL);
            worst.merge(what.substring(what.lastIndexOf('.') + 1), relative, Math::max);
            assertTrue(relative <= RELATIVE, () -> name + ", " + what + ": off by " + relative + " of the largest magnitude");
        }

        private View channelsFirst(View perPatch) {
            return perPatch.split(1, config.grid()).permute(0, 3, 1, 2);
        }

        private double[] numbers(View view) {
            if (backend instanceof PlainBackend plain) {
                return plain.read(view);
            }
            View dense = scope.floats(view.sizes());
            backend.copy(view, dense);
            float[] numbers = backend.download(dense).toArray();
            double[] doubles = new double[numbers.length];
            for (int i = 0; i < numbers.length; i++) {
                doubles[i] = numbers[i];
            }
            return doubles;
        }

        private View upload(Tensor tensor) {
            View view = scope.floats(tensor.shape().toArray());
            backend.upload(tensor, view);
            return view;
        }
    }
}
