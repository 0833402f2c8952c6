package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * For research: every layer of a float32 network with its operands, its output and its gradients, one after the other, to be
 * studied or quantised by a method of one's own. For example
 *
 * <pre>{@code
 * List<QuantizedLayer> layers = Calibrations.quantized(model, backend, images, layer -> ...);
 * Classifier classifier = Classifier.of(backend, new QuantizedModel(model, layers));
 * }</pre>
 *
 * <p>The programs in {@code examples/library} have a metric, a quantiser and a rounding of their own.
 */
public final class Calibrations {
    /** Two gradients an image tell nearly as much as all labels' would. */
    private static final LossGradient LOSS = new LossGradient(GradientSource.FISHER, 2, 0);

    private Calibrations() {
    }

    /**
     * Shows every layer. The gradients are those of the Fisher information.
     *
     * @param visitor shown one layer at a time, from the classifiers to the patch embedding; within a block in network order
     * @throws CalibrationException if the images do not fit the model
     */
    public static void forEachLayer(VisionTransformer model, Backend backend, CalibrationImages images,
            Consumer<ObservedLayer> visitor) {
        walk(model, backend, images).run(walked -> (name, unit, layers, scope) -> {
            for (LayerData data : layers) {
                visitor.accept(new ObservedLayer(model, backend, images, walked, unit, data));
            }
        });
    }

    /**
     * Quantises every layer.
     *
     * @param quantization asked for one layer at a time, as {@link #forEachLayer} shows them
     * @return in network order
     */
    public static List<QuantizedLayer> quantized(VisionTransformer model, Backend backend, CalibrationImages images,
            Function<ObservedLayer, QuantizedLayer> quantization) {
        Map<String, QuantizedLayer> layers = new HashMap<>();
        forEachLayer(model, backend, images, layer -> layers.put(layer.layer().name(), quantization.apply(layer)));
        return model.config().layers().stream().map(layer -> layers.get(layer.name())).toList();
    }

    /**
     * Quantises every layer from the patch embedding on. Each is shown the operands that the layers before it, as they were
     * quantised, give it, together with the float32 network's output and gradients, so that it can make up for their errors.
     *
     * @param quantization asked for one layer at a time, in the order of computation
     * @return in network order
     */
    public static List<QuantizedLayer> quantizedForward(VisionTransformer model, Backend backend, CalibrationImages images,
            Function<ObservedLayer, QuantizedLayer> quantization) {
        Map<String, QuantizedLayer> layers = new HashMap<>();
        try (Scope scope = backend.scope()) {
            walk(model, backend, images).runForward(walked -> new ForwardQuantization(model, backend, scope, images, walked, layer -> {
                layers.put(layer.layer().name(), quantization.apply(layer));
                return Optional.of(layers.get(layer.layer().name()));
            }));
        }
        return model.config().layers().stream().map(layer -> layers.get(layer.name())).toList();
    }

    private static LayerWalk walk(VisionTransformer model, Backend backend, CalibrationImages images) {
        return new LayerWalk(model, backend, Optional.of(LOSS), images, new Timings());
    }
}
