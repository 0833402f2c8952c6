package io.github.ptq4vit.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendUnderTest;
import io.github.ptq4vit.backend.PlainBackend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.model.Activations;
import io.github.ptq4vit.model.Block;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Gradients;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
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
            if (folder.model().kind() != GoldenFolder.Kind.VIT) {
                System.out.println(folder + ": there is no Swin network yet, only its layers are compared, one by one");
                return DynamicContainer.dynamicContainer(folder.toString(), Stream.empty());
            }
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
                        new Pass(folder, backend, scope, name, from, from + step, worst).run();
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
    private static final class Pass {
        private final GoldenFolder folder;
        private final Backend backend;
        private final Scope scope;
        private final String name;
        private final VitConfig config;
        private final Network network;
        private final FloatArithmetic arithmetic;
        private final int images;
        private final int from;
        private final Map<String, Double> worst;

        Pass(GoldenFolder folder, Backend backend, Scope scope, String name, int from, int to, Map<String, Double> worst) {
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
            View pixels = upload(calib);
            View patches = scope.floats(images * config.grid() * config.grid(), config.patchElements());
            network.unfold(pixels, patches);
            View tokens = scope.floats(images, config.tokens(), config.dim());
            network.embed(arithmetic, patches, tokens, scope);
            View embedded = scope.floats(images, config.grid() * config.grid(), config.dim());
            arithmetic.linear(config.layers().get(0), patches, embedded.rows());

            List<Activations> blocks = new ArrayList<>();
            View input = tokens;
            for (Block block : network.blocks()) {
                Activations a = Activations.allocate(scope, config, input);
                block.forward(arithmetic, a);
                blocks.add(a);
                input = a.output();
            }
            int heads = config.headLayers().size();
            View pooled = scope.floats(heads, images, config.dim());
            network.pool(input, pooled, scope);
            View outputs = scope.floats(heads, images, config.classes());
            network.classify(arithmetic, pooled, outputs);

            String embedding = config.layers().get(0).name();
            compare(embedding, "output", channelsFirst(embedded));
            for (int i = 0; i < blocks.size(); i++) {
                forward(config.blockLayers(i), blocks.get(i));
            }
            for (int h = 0; h < heads; h++) {
                compare(config.headLayers().get(h).name(), "input", pooled.at(h));
                compare(config.headLayers().get(h).name(), "output", outputs.at(h));
            }
            View byImage = scope.floats(images, heads, config.classes());
            backend.copy(outputs.permute(1, 0, 2), byImage);
            Tensor logits = Network.meanOfHeads(backend.download(byImage));
            compare("logits", folder.raw().read("logits"), numbers(upload(logits)), 1);
            compare("logits", folder.raw().read("logits"), numbers(upload(network.logits(arithmetic, calib))), 1);
            backward(blocks, input, logits);
        }

        private void forward(List<Layer> layers, Activations a) {
            int heads = config.heads();
            for (Layer layer : layers) {
                switch (layer.role()) {
                    case QKV -> both(layer, a.norm1(), a.qkv());
                    case PROJECTION -> both(layer, a.context(), a.projection());
                    case FC1 -> both(layer, a.norm2(), a.fc1());
                    case FC2 -> both(layer, a.gelu(), a.fc2());
                    case QUERY_KEY -> {
                        compare(layer.name(), "input_A", Activations.part(a.qkv(), 0, heads));
                        compare(layer.name(), "input_B", Activations.part(a.qkv(), 1, heads).transpose());
                        compare(layer.name(), "output", a.scores());
                    }
                    case PROBABILITY_VALUE -> {
                        compare(layer.name(), "input_A", a.probabilities());
                        compare(layer.name(), "input_B", Activations.part(a.qkv(), 2, heads));
                        compare(layer.name(), "output", Activations.heads(a.context(), heads));
                    }
                    default -> throw new IllegalStateException("Not in a block: " + layer);
                }
            }
        }

        private void backward(List<Activations> blocks, View last, Tensor logits) {
            int heads = config.headLayers().size();
            View dOutputs = upload(labelGradients(logits, heads));
            for (int h = 0; h < heads; h++) {
                compare(config.headLayers().get(h).name(), "grad_pseudolabel", dOutputs.at(h));
            }
            View gradient = scope.floats(images, config.tokens(), config.dim());
            network.headBackward(arithmetic, last, dOutputs, gradient, scope);
            for (int i = blocks.size() - 1; i >= 0; i--) {
                Gradients g = Gradients.allocate(scope, blocks.get(i), gradient);
                network.blocks().get(i).backward(arithmetic, blocks.get(i), g, scope);
                for (Layer layer : config.blockLayers(i)) {
                    compare(layer.name(), "grad_pseudolabel", switch (layer.role()) {
                        case QKV -> g.qkv();
                        case QUERY_KEY -> g.scores();
                        case PROBABILITY_VALUE -> Activations.heads(g.context(), config.heads());
                        case PROJECTION -> g.projection();
                        case FC1 -> g.fc1();
                        default -> g.output();
                    });
                }
                gradient = g.input();
            }
            compare(config.layers().get(0).name(), "grad_pseudolabel",
                    channelsFirst(gradient.slice(1, config.prefixTokens(), config.tokens())));
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

        private void both(Layer layer, View x, View y) {
            compare(layer.name(), "input", x);
            compare(layer.name(), "output", y);
        }

        private void compare(String layer, String what, View ours) {
            if (!folder.hasRaw(layer)) {
                return;
            }
            Tensor golden = folder.raw(layer, what);
            assertEquals(golden.slice(from, from + images).shape(), Shape.of(ours.sizes()), layer + "." + what);
            compare(layer + "." + what, golden, numbers(ours), what.startsWith("grad") ? 1.0 / BATCH : 1);
        }

        private void compare(String what, Tensor golden, double[] ours, double factor) {
            double largest = 0;
            for (int i = 0; i < golden.data().limit(); i++) {
                largest = Math.max(largest, Math.abs(golden.data().get(i)));
            }
            double deviation = 0;
            Tensor own = golden.slice(from, from + images);
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
