package io.github.ptq4vit.inference;

import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.FloatArithmetic;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;

/** A model on a device, float32 or quantised, ready to classify. The device stays the caller's. */
public final class Classifier implements AutoCloseable {
    private final Scope scope;
    private final Network network;
    private final Arithmetic arithmetic;

    private Classifier(Scope scope, Network network, Arithmetic arithmetic) {
        this.scope = scope;
        this.network = network;
        this.arithmetic = arithmetic;
    }

    /** With float32 products. */
    public static Classifier of(Backend backend, VisionTransformer model) {
        Scope scope = backend.scope();
        return guarded(scope, () -> new Classifier(scope, new Network(backend, scope, model),
                new FloatArithmetic(backend, scope, model)));
    }

    /** With integer products. */
    public static Classifier of(Backend backend, QuantizedModel model) {
        Scope scope = backend.scope();
        return guarded(scope, () -> new Classifier(scope, new Network(backend, scope, model.model()),
                new QuantizedArithmetic(backend, scope, model)));
    }

    /** The same with a float32 network and its quantised layers. */
    public static Classifier of(Backend backend, VisionTransformer network, List<QuantizedLayer> layers) {
        return of(backend, new QuantizedModel(network, layers));
    }

    /** What this is a network of. */
    public Architecture config() {
        return network.config();
    }

    /**
     * The forward pass.
     *
     * @param pixels {@code [images, channels, side, side]}, normalised
     * @return {@code [images, classes]}
     * @throws IllegalArgumentException if the images have another size than the model takes
     */
    public Tensor logits(Tensor pixels) {
        Architecture c = config();
        Shape shape = pixels.shape();
        if (shape.rank() != 4 || shape.size(1) != c.channels() || shape.size(2) != c.imageSize()
                || shape.size(3) != c.imageSize()) {
            throw new IllegalArgumentException("The model " + c.name() + " takes images [images, " + c.channels() + ", "
                    + c.imageSize() + ", " + c.imageSize() + "], not " + shape);
        }
        return network.logits(arithmetic, pixels);
    }

    @Override
    public void close() {
        scope.close();
    }

    private static Classifier guarded(Scope scope, java.util.function.Supplier<Classifier> make) {
        try {
            return make.get();
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }
}
