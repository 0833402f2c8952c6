package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.inference.QuantizedArithmetic;
import io.github.ptq4vit.model.LayerData;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Pass;
import io.github.ptq4vit.model.Unit;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * Quantises layers from the patch embedding on. Each is shown the operands that the layers before it, as they were quantised, give
 * it; its output and its gradients are those of the float32 network. Within a unit the forward pass is run anew for every layer.
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
        Pass pass = unit.pass(scope, tokens, unit.output(owner, images.ids().size()));
        // roles are in the order of computation
        for (LayerData data : layers.stream().sorted(Comparator.comparing(d -> d.layer().role())).toList()) {
            forward(pass);
            LayerData own = pass.layers(Optional.empty()).stream().filter(d -> d.layer().equals(data.layer())).findFirst().orElseThrow();
            quantize(new LayerData(data.layer(), own.left(), own.right(), data.output(), data.gradient()), index);
        }
        forward(pass);
        tokens = pass.output();
    }

    private void forward(Pass pass) {
        backend.parallel(images.ids().size(), (from, to, inner) -> pass.images(from, to).forward(arithmetic));
    }

    private void quantize(LayerData data, int unit) {
        quantization.apply(new ObservedLayer(model, backend, images, walked, unit, data)).ifPresent(arithmetic::add);
    }
}
