package io.github.ptq4vit.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.PlainBackend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The network's gradients against central finite differences in float64, element by element: the output of a layer is moved
 * by a little and the loss, the cross-entropy of every image against a label, is computed anew.
 *
 * <p>With a step h the difference quotient is off by h^2 f''' / 6, and by the loss's last bit over h: for h = 1e-4 about 1e-8
 * and 1e-11, so 1e-6 of a tensor's largest gradient is ample where third derivatives are of the gradients' size.
 */
class GradientTest {
    private static final double STEP = 1e-4;
    private static final double RELATIVE = 1e-6;
    private static final int IMAGES = 2;
    private static final int MOST = 60;

    @TestFactory
    List<DynamicTest> everyLayersGradientIsTheDifferenceQuotient() {
        PrefixTokens registers = new PrefixTokens(true, false, 3, false);
        return List.of(
                test("one classifier", vit(false)),
                test("two classifiers", vit(true)),
                test("layer scale, registers without positions", vit(registers, Pooling.CLASS_TOKEN, true, 0)),
                test("mean of the patches, then norm, layer scale", vit(registers, Pooling.MEAN_THEN_NORM, true, 0)),
                test("no class token, norm, then mean", vit(new PrefixTokens(false, false, 0, true), Pooling.NORM_THEN_MEAN,
                        false, 0)),
                test("a layer before the classifier", vit(new PrefixTokens(true, false, 0, true), Pooling.CLASS_TOKEN, false, 6)),
                test("Swin with shifted windows, merging, and a stage of one window", new SwinConfig("small", 16, 2, 2, 8,
                        List.of(2, 1), List.of(2, 4), 4, 2, 5, 1e-5f)));
    }

    private static DynamicTest test(String name, Architecture config) {
        return DynamicTest.dynamicTest(name, () -> check(config));
    }

    private static VitConfig vit(boolean distilled) {
        return new VitConfig("small", 8, 4, 2, 8, 2, 2, 12, 5, distilled, 1e-6f);
    }

    private static VitConfig vit(PrefixTokens prefix, Pooling pooling, boolean layerScale, int representation) {
        return new VitConfig("small", 8, 4, 2, 8, 2, 2, 12, 5, prefix, pooling, 1, layerScale, representation, 1e-6f);
    }

    private static void check(Architecture config) {
        Random random = new Random(1);
        try (PlainBackend backend = new PlainBackend(); Scope scope = backend.scope()) {
            Loss loss = new Loss(backend, scope, RandomVit.of(config, 1), RandomVit.images(config, IMAGES, 2));
            Map<String, double[]> gradients = loss.gradients();
            assertEquals(config.layers().stream().map(Layer::name).sorted().toList(), gradients.keySet().stream().sorted().toList());
            gradients.forEach((layer, gradient) -> {
                double largest = 0;
                for (double number : gradient) {
                    largest = Math.max(largest, Math.abs(number));
                }
                assertTrue(largest > 1e-4, layer);
                for (int i : elements(gradient.length, random)) {
                    double quotient = (loss.at(layer, i, STEP) - loss.at(layer, i, -STEP)) / (2 * STEP);
                    assertEquals(quotient, gradient[i], RELATIVE * largest, layer + ", element " + i);
                }
            });
        }
    }

    /** All, or of a large array some. */
    private static int[] elements(int length, Random random) {
        return length <= MOST ? IntStream.range(0, length).toArray() : random.ints(MOST, 0, length).toArray();
    }

    /** The loss as a function of one element of one layer's output. */
    private static final class Loss {
        private final PlainBackend backend;
        private final Scope memory;
        private final Architecture config;
        private final Network network;
        private final FloatArithmetic arithmetic;
        private final View patches;
        private final List<Values> values = new ArrayList<>();

        Loss(PlainBackend backend, Scope memory, VisionTransformer model, Tensor images) {
            this.backend = backend;
            this.memory = memory;
            this.config = model.config();
            this.network = new Network(backend, memory, model);
            this.arithmetic = new FloatArithmetic(backend, memory, model);
            this.patches = network.patches(images, memory);
        }

        double at(String layer, int element, double step) {
            try (Scope scope = backend.scope()) {
                double[] z = backend.read(forward(new Moved(layer, element, step), scope));
                double loss = 0;
                for (int image = 0; image < IMAGES; image++) {
                    loss -= Math.log(probabilities(z, image)[label(image)]);
                }
                return loss;
            }
        }

        /** Outputs of the classifiers, {@code [classifiers, images, classes]}. */
        private View forward(Arithmetic products, Scope scope) {
            values.clear();
            View tokens = network.units().get(0).input(scope, IMAGES);
            network.embed(products, patches, tokens, scope);
            for (Unit unit : network.units()) {
                View output = unit.output(scope, IMAGES);
                values.add(unit.values(scope, tokens, output));
                unit.forward(products, values.get(values.size() - 1));
                tokens = output;
            }
            int heads = config.headLayers().size();
            View pooled = scope.floats(heads, IMAGES, config.classifierInputs());
            network.pool(tokens, pooled, scope);
            View outputs = scope.floats(heads, IMAGES, config.classes());
            network.classify(products, pooled, outputs);
            return outputs;
        }

        /** Softmax of the classifiers' mean. */
        private double[] probabilities(double[] outputs, int image) {
            int heads = config.headLayers().size();
            double[] p = new double[config.classes()];
            double sum = 0;
            for (int c = 0; c < p.length; c++) {
                for (int head = 0; head < heads; head++) {
                    p[c] += outputs[(head * IMAGES + image) * p.length + c] / heads;
                }
                p[c] = Math.exp(p[c]);
                sum += p[c];
            }
            for (int c = 0; c < p.length; c++) {
                p[c] /= sum;
            }
            return p;
        }

        private int label(int image) {
            return image * 3 % config.classes();
        }

        /** Gradients at the outputs of all layers, row-major as the layers write them. */
        Map<String, double[]> gradients() {
            int heads = config.headLayers().size();
            int classes = config.classes();
            View outputs = forward(arithmetic, memory);
            double[] z = backend.read(outputs);
            double[] d = new double[z.length];
            for (int i = 0; i < d.length; i++) {
                int image = i / classes % IMAGES;
                d[i] = (probabilities(z, image)[i % classes] - (i % classes == label(image) ? 1 : 0)) / heads;
            }
            View dOutputs = memory.floats(outputs.sizes());
            backend.write(d, dOutputs);
            Map<String, double[]> gradients = new LinkedHashMap<>();
            for (int head = 0; head < heads; head++) {
                gradients.put(config.headLayers().get(head).name(), backend.read(dOutputs.at(head)));
            }
            int units = values.size();
            View last = values.get(units - 1).of(config.units().get(units - 1).output());
            View gradient = memory.floats(last.sizes());
            network.headBackward(arithmetic, last, dOutputs, gradient, memory);
            for (int i = units - 1; i >= 0; i--) {
                Unit unit = network.units().get(i);
                Values g = unit.backward(arithmetic, values.get(i), gradient, memory);
                unit.layers(values.get(i), Optional.of(g)).forEach(data ->
                        gradients.put(data.layer().name(), backend.read(data.gradient().orElseThrow())));
                gradient = g.of(unit.shape().input());
            }
            View embedded = memory.floats(IMAGES, config.grid() * config.grid(), config.dim());
            arithmetic.linear(config.embedding(), patches.rows(), embedded.rows());
            View dEmbedded = memory.floats(embedded.sizes());
            network.embedBackward(embedded, gradient, dEmbedded);
            gradients.put(config.embedding().name(), backend.read(dEmbedded));
            return gradients;
        }

        /** Adds a little to one element of one layer's output. */
        private final class Moved implements Arithmetic {
            private final String name;
            private final int element;
            private final double step;

            Moved(String name, int element, double step) {
                this.name = name;
                this.element = element;
                this.step = step;
            }

            @Override
            public void linear(Layer layer, View x, View y) {
                arithmetic.linear(layer, x, y);
                move(layer, y);
            }

            @Override
            public void matmul(Layer layer, View a, View b, View c) {
                arithmetic.matmul(layer, a, b, c);
                move(layer, c);
            }

            private void move(Layer layer, View output) {
                if (layer.name().equals(name)) {
                    double[] numbers = backend.read(output);
                    numbers[element] += step;
                    backend.write(numbers, output);
                }
            }
        }
    }
}
