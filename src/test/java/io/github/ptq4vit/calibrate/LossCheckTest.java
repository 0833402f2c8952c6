package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.inference.QuantizedArithmetic;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.RandomVit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class LossCheckTest {
    private static final String MASSIVE = "blocks.1.mlp.fc2";
    private static final CalibrationConfig CONFIG = CalibrationConfig.ptq4vit(new BitWidths(5, 5));

    private final VitConfig shape = new VitConfig("small", 24, 8, 3, 48, 4, 3, 96, 7, false, 1e-6f);

    /** A network whose second block makes one token much larger than all others, as trained ones do. */
    private VisionTransformer withMassiveToken() {
        VisionTransformer model = RandomVit.of(shape, 5);
        // the token that is marked in channel 3 excites hidden unit 11 alone ...
        Tensor positions = copy(model.tensor("pos_embed"));
        for (int token = 0; token < shape.tokens(); token++) {
            positions.data().put(token * shape.dim() + 3, token == 4 ? 40 : 0);
        }
        Tensor fc1 = copy(model.tensor("blocks.1.mlp.fc1.weight"));
        for (int channel = 0; channel < shape.dim(); channel++) {
            fc1.data().put(11 * shape.dim() + channel, channel == 3 ? 15 : 0);
        }
        Tensor bias = copy(model.tensor("blocks.1.mlp.fc1.bias"));
        bias.data().put(11, -10);
        // ... which writes a large number to channel 7
        Tensor fc2 = copy(model.tensor("blocks.1.mlp.fc2.weight"));
        for (int channel = 0; channel < shape.dim(); channel++) {
            fc2.data().put(channel * shape.hidden() + 11, channel == 7 ? 3 : 0);
        }
        model = RandomVit.with(model, "pos_embed", positions);
        model = RandomVit.with(model, "blocks.1.mlp.fc1.weight", fc1);
        model = RandomVit.with(model, "blocks.1.mlp.fc1.bias", bias);
        return RandomVit.with(model, "blocks.1.mlp.fc2.weight", fc2);
    }

    private static Tensor copy(Tensor tensor) {
        return Tensor.of(tensor.shape(), tensor.toArray());
    }

    private CalibrationImages images() {
        return new CalibrationImages(IntStream.range(0, 8).mapToObj(i -> "image " + i).toList(),
                RandomVit.images(shape, 8, 2));
    }

    private CalibrationResult run(Backend backend, VisionTransformer model, CalibrationConfig config) {
        return Calibrator.of(model).on(backend).config(config).run(images());
    }

    @Test
    void theLossCorrectsTheLayerThatMakesATokenMassive() {
        VisionTransformer model = withMassiveToken();
        try (Backend backend = new CpuBackend(2)) {
            List<QuantizedLayer> trusting = run(backend, model, CONFIG.withLossCheck(false)).layers();
            CalibrationResult found = run(backend, model, CONFIG);
            List<QuantizedLayer> checked = found.layers();
            for (int i = 0; i < trusting.size(); i++) {
                QuantizedLayer layer = trusting.get(i);
                if (layer.name().equals(MASSIVE)) {
                    assertNotEquals(layer, checked.get(i));
                    double before = divergence(backend, model, layer);
                    double after = divergence(backend, model, checked.get(i));
                    assertTrue(after < 0.7 * before, "divergence " + before + " becomes " + after);
                    LayerRecord.Check check = found.records().get(i).check().orElseThrow();
                    assertTrue(check.moved());
                    assertEquals(before, check.before(), 1e-6);
                    assertEquals(after, check.after(), 1e-6);
                    assertTrue(check.before() > 2 * check.expected());
                    assertEquals(scale(layer.right()) * check.rightFactor(), scale(checked.get(i).right()), 1e-6 * scale(layer.right()));
                    assertEquals(((Quantizer.GeluTwin) layer.left().get(0)).positiveScale() * check.leftFactor(),
                            ((Quantizer.GeluTwin) checked.get(i).left().get(0)).positiveScale(), 1e-5);
                } else {
                    assertEquals(layer, checked.get(i));
                    assertFalse(found.records().get(i).check().map(LayerRecord.Check::moved).orElse(false));
                }
            }
        }
    }

    private static float scale(List<Quantizer> weights) {
        return ((Quantizer.Uniform) weights.get(0)).scale();
    }

    @Test
    void withoutAMassiveTokenTheMetricDecides() {
        VisionTransformer model = RandomVit.of(shape, 5);
        try (Backend backend = new CpuBackend(2)) {
            assertEquals(run(backend, model, CONFIG.withLossCheck(false)).layers(), run(backend, model, CONFIG).layers());
        }
    }

    /** Mean over the images of sum p log(p / q), everything but one layer in float32. */
    private double divergence(Backend backend, VisionTransformer model, QuantizedLayer layer) {
        try (Scope scope = backend.scope()) {
            Network network = new Network(backend, scope, model);
            FloatArithmetic exact = new FloatArithmetic(backend, scope, model);
            Tensor expected = network.logits(exact, images().pixels());
            QuantizedArithmetic quantized = new QuantizedArithmetic(backend, scope,
                    new QuantizedModel(model, run(backend, model, CONFIG).layers().stream()
                            .map(other -> other.name().equals(layer.name()) ? layer : other).toList()));
            Tensor logits = network.logits(new OneLayer(layer.name(), quantized, exact), images().pixels());
            double sum = 0;
            for (int image = 0; image < 8; image++) {
                double[] p = Predictions.softmax(Predictions.row(expected, image));
                double[] q = Predictions.softmax(Predictions.row(logits, image));
                sum += IntStream.range(0, p.length).mapToDouble(c -> p[c] * Math.log(p[c] / q[c])).sum();
            }
            return sum / 8;
        }
    }

    /** One layer one way, all others another. */
    private record OneLayer(String name, Arithmetic its, Arithmetic others) implements Arithmetic {
        @Override
        public void linear(Layer layer, View x, View y) {
            (layer.name().equals(name) ? its : others).linear(layer, x, y);
        }

        @Override
        public void matmul(Layer layer, View a, View b, View c) {
            (layer.name().equals(name) ? its : others).matmul(layer, a, b, c);
        }
    }
}
