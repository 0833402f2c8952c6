package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.inference.QuantizedArithmetic;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Stage;
import io.github.ptq4vit.model.Unit;
import io.github.ptq4vit.model.Values;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * Quantises layers from the patch embedding on. Each is shown the operands that the layers before it, as they were quantised, give
 * it; its output and its gradients are those of the float32 network. Within a unit each stage runs once, a layer's when it is
 * quantised.
 */
final class ForwardQuantization implements LayerWalk.Visitor {
    private final VisionTransformer model;
    private final Backend backend;
    private final Scope owner;
    private final CalibrationImages images;
    private final LayerWalk.Walked walked;
    private final Function<ObservedLayer, Optional<QuantizedLayer>> quantization;
    private final QuantizedArithmetic arithmetic;
    /** What comes into the next unit, for all images. */
    private View tokens;

    /**
     * @param owner of the quantised weights and of what goes from unit to unit
     * @param quantization empty leaves a layer in float32
     */
    ForwardQuantization(VisionTransformer model, Backend backend, Scope owner, CalibrationImages images, LayerWalk.Walked walked,
            Function<ObservedLayer, Optional<QuantizedLayer>> quantization) {
        this.model = model;
        this.backend = backend;
        this.owner = owner;
        this.images = images;
        this.walked = walked;
        this.quantization = quantization;
        this.arithmetic = new QuantizedArithmetic(backend, owner, model, walked.arithmetic());
    }

    @Override
    public void unit(String name, int index, List<LayerData> layers, Scope scope) {
        Network network = walked.network();
        int count = images.ids().size();
        if (index < 0) {
            quantize(layers.get(0), index);
            tokens = network.units().get(0).input(owner, count);
            backend.parallel(count, (from, to, inner) -> network.embed(arithmetic,
                    network.patches(images.pixels().slice(from, to), inner), tokens.slice(0, from, to), inner));
        } else if (index < network.units().size()) {
            inside(network.units().get(index), index, layers, scope);
        } else {
            View pooled = scope.floats(layers.size(), count, layers.get(0).left().size(1));
            network.pool(tokens, pooled, scope);
            for (int head = 0; head < layers.size(); head++) {
                LayerData data = layers.get(head);
                quantize(new LayerData(data.layer(), pooled.at(head), Optional.empty(), data.output(), data.gradient()), index);
            }
        }
    }

    private void inside(Unit unit, int index, List<LayerData> layers, Scope scope) {
        int count = images.ids().size();
        View output = unit.output(owner, count);
        Values values = unit.values(scope, tokens, output);
        for (Stage stage : unit.stages()) {
            if (stage instanceof Stage.OfLayer own) {
                LayerData expected = layers.stream().filter(data -> data.layer().equals(own.layer())).findFirst().orElseThrow();
                LayerData now = own.data(values, Optional.empty());
                quantize(new LayerData(own.layer(), now.left(), now.right(), expected.output(), expected.gradient()), index);
            }
            backend.parallel(count, (from, to, inner) -> stage.forward(unit, values.images(from, to), arithmetic));
        }
        tokens = output;
    }

    private void quantize(LayerData data, int unit) {
        quantization.apply(new ObservedLayer(model, backend, images, walked, unit, data)).ifPresent(arithmetic::add);
    }
}
