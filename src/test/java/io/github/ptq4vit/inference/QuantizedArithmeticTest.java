package io.github.ptq4vit.inference;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.TinyModel;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class QuantizedArithmeticTest {
    /** Products of codes are exact; what is left is float32 rounding of the scaled sums. */
    private static final double TOLERANCE = 1e-5;

    @TempDir
    Path folder;
    private Backend backend;
    private Scope scope;
    private VisionTransformer model;
    private QuantizedModel quantized;

    @BeforeEach
    void open() {
        backend = Backends.open("cpu", OptionalInt.of(1));
        scope = backend.scope();
        model = TinyModel.model(folder);
        quantized = new QuantizedModel(model, TinyModel.quantize(model, 6));
    }

    @AfterEach
    void close() {
        scope.close();
        backend.close();
    }

    @Test
    void everyLinearLayerIsThePlainProductOfQuantisedOperands() {
        QuantizedArithmetic arithmetic = new QuantizedArithmetic(backend, scope, quantized);
        Random random = new Random(5);
        for (Layer layer : model.config().layers()) {
            if (layer.role().isMatmul()) {
                continue;
            }
            QuantizedLayer q = quantized.byName().get(layer.name());
            Tensor weight = model.weight(layer);
            int outputs = weight.shape().size(0);
            int inputs = weight.shape().size(1);
            Tensor x = TinyModel.random(random, 1, 13, inputs);
            View y = scope.floats(13, outputs);
            arithmetic.linear(layer, upload(x), y);
            Tensor got = backend.download(y);
            for (int row = 0; row < 13; row++) {
                for (int o = 0; o < outputs; o++) {
                    double sum = model.bias(layer).orElseThrow().data().get(o);
                    double magnitude = Math.abs(sum);
                    Quantizer group = q.right().get(o * q.right().size() / outputs);
                    for (int i = 0; i < inputs; i++) {
                        float input = x.data().get(row * inputs + i);
                        double term = (q.left().isEmpty() ? input : (double) q.left().get(0).quantize(input))
                                * group.quantize(weight.data().get(o * inputs + i));
                        sum += term;
                        magnitude += Math.abs(term);
                    }
                    assertEquals(sum, got.data().get(row * outputs + o), TOLERANCE * magnitude, layer.name());
                }
            }
        }
    }

    @Test
    void everyAttentionProductIsThePlainProductOfQuantisedOperands() {
        QuantizedArithmetic arithmetic = new QuantizedArithmetic(backend, scope, quantized);
        Random random = new Random(6);
        for (Layer layer : model.config().layers()) {
            if (!layer.role().isMatmul()) {
                continue;
            }
            QuantizedLayer q = quantized.byName().get(layer.name());
            Tensor a = TinyModel.random(random, 0.4, 3, 2, 5, 7);
            for (int i = 0; i < a.data().limit() && layer.name().endsWith("matmul2"); i++) {
                a.data().put(i, Math.min(1, Math.abs(a.data().get(i))));
            }
            Tensor b = TinyModel.random(random, 1, 3, 2, 7, 4);
            View c = scope.floats(3, 2, 5, 4);
            arithmetic.matmul(layer, upload(a), upload(b), c);
            Tensor got = backend.download(c);
            for (int batch = 0; batch < 6; batch++) {
                for (int row = 0; row < 5; row++) {
                    for (int column = 0; column < 4; column++) {
                        double sum = 0;
                        double magnitude = 0;
                        for (int k = 0; k < 7; k++) {
                            double term = (double) ofHead(q.left(), batch).quantize(a.data().get((batch * 5 + row) * 7 + k))
                                    * ofHead(q.right(), batch).quantize(b.data().get((batch * 7 + k) * 4 + column));
                            sum += term;
                            magnitude += Math.abs(term);
                        }
                        assertEquals(sum, got.data().get((batch * 5 + row) * 4 + column), TOLERANCE * magnitude, layer.name());
                    }
                }
            }
        }
    }

    @Test
    void codesThatDoNotFitTheLayerAreRefused() {
        List<QuantizedLayer> layers = new java.util.ArrayList<>(quantized.layers());
        QuantizedLayer head = layers.remove(layers.size() - 1);
        layers.add(new QuantizedLayer(head.name(), head.left(), head.right(), new byte[5]));
        String message = assertThrows(IllegalArgumentException.class,
                () -> new QuantizedArithmetic(backend, scope, new QuantizedModel(model, layers))).getMessage();
        assertTrue(message.contains("head"), message);
    }

    private static Quantizer ofHead(List<Quantizer> groups, int batch) {
        return groups.get(batch % 2 * groups.size() / 2);
    }

    private View upload(Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }
}
