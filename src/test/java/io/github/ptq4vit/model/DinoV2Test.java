package io.github.ptq4vit.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/**
 * A DINOv2 with SwiGLU, written by PyTorch: every layer's output, the logits and the gradients are what PyTorch computes. SwiGLU is
 * computed in float32 by every backend, so that the difference quotients of {@link GradientTest} would say less.
 */
class DinoV2Test {
    private static final Path FOLDER = Path.of("src", "test", "resources", "models", "dinov2");
    /** Two float32 computations of a small network, relative to the largest number of a tensor. */
    private static final double RELATIVE = 1e-5;

    @Test
    void theAuthorsNamesAreUnderstood() {
        VisionTransformer timm = ModelReader.read(FOLDER.resolve("timm.safetensors"), ReadOptions.NONE);
        VisionTransformer authors = ModelReader.read(FOLDER.resolve("authors.safetensors"), ReadOptions.NONE);
        assertEquals(timm.config(), authors.config());
        assertEquals(timm.tensors().keySet(), authors.tensors().keySet());
        timm.tensors().forEach((name, tensor) -> assertArrayEquals(tensor.toArray(), authors.tensor(name).toArray(), name));
        VitConfig config = (VitConfig) timm.config();
        assertEquals(Activation.SWIGLU, config.activation());
        assertEquals(20, config.hidden());
        assertTrue(config.layerScale());
        assertEquals(Distribution.ANY, config.layers().stream().filter(layer -> layer.role() == LayerRole.FC2).findFirst()
                .orElseThrow().input());
    }

    @Test
    void outputsAndGradientsAreThoseOfPyTorch() {
        VisionTransformer model = ModelReader.read(FOLDER.resolve("timm.safetensors"), ReadOptions.NONE);
        try (SafetensorsFile expected = SafetensorsFile.open(FOLDER.resolve("expected.safetensors"));
                Backend backend = new CpuBackend(1); Scope scope = backend.scope()) {
            Network network = new Network(backend, scope, model);
            FloatArithmetic arithmetic = new FloatArithmetic(backend, scope, model);
            Tensor images = expected.read("images");
            Tensor logits = network.logits(arithmetic, images);
            close("logits", expected.read("logits"), logits);

            View input = network.units().get(0).input(scope, images.shape().size(0));
            network.embed(arithmetic, network.patches(images, scope), input, scope);
            List<Values> values = new ArrayList<>();
            for (Unit unit : network.units()) {
                View output = unit.output(scope, input.size(0));
                values.add(unit.values(scope, input, output));
                unit.forward(arithmetic, values.get(values.size() - 1));
                input = output;
            }
            View gradient = scope.floats(input.sizes());
            View atLogits = scope.floats(1, images.shape().size(0), model.config().classes());
            backend.upload(expected.read("head.gradient").reshape(atLogits.sizes()), atLogits);
            network.headBackward(arithmetic, input, atLogits, gradient, scope);
            for (int i = values.size() - 1; i >= 0; i--) {
                Unit unit = network.units().get(i);
                Values g = unit.backward(arithmetic, values.get(i), gradient, scope);
                for (LayerData data : unit.layers(values.get(i), Optional.of(g))) {
                    String name = data.layer().name();
                    if (!data.layer().role().isMatmul()) {
                        close(name, expected.read(name + ".output"), backend.download(data.output()));
                        close(name + "'s gradient", expected.read(name + ".gradient"), backend.download(data.gradient().orElseThrow()));
                    }
                }
                gradient = g.of(unit.shape().input());
            }
        }
    }

    private static void close(String what, Tensor expected, Tensor found) {
        float[] theirs = expected.toArray();
        float[] ours = found.toArray();
        assertEquals(theirs.length, ours.length, what);
        double largest = 0;
        for (float number : theirs) {
            largest = Math.max(largest, Math.abs(number));
        }
        for (int i = 0; i < ours.length; i++) {
            assertEquals(theirs[i], ours[i], RELATIVE * largest, what + ", element " + i);
        }
    }
}
