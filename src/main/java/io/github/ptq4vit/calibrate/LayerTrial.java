package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.model.Arithmetic;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.Network;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A layer whose operands are quantised by quantisers of one's own: what becomes of its output and of the network's predictions. All
 * products are in float32, and all other layers are as they were.
 */
public final class LayerTrial {
    private final ObservedLayer observed;
    private final Backend backend;
    private final Optional<OperandQuantizer> left;
    private final Optional<OperandQuantizer> right;

    LayerTrial(ObservedLayer observed, Backend backend, Optional<OperandQuantizer> left, Optional<OperandQuantizer> right) {
        this.observed = observed;
        this.backend = backend;
        this.left = left;
        this.right = right;
    }

    /** The layer's output, shaped like {@link ObservedLayer#output}. */
    public Tensor output() {
        try (Scope scope = backend.scope()) {
            View y = scope.floats(observed.data().output().sizes());
            Arithmetic mixed = mixed(scope);
            if (observed.layer().role().isMatmul()) {
                mixed.matmul(observed.layer(), observed.data().left(), observed.data().right().orElseThrow(), y);
            } else {
                mixed.linear(observed.layer(), observed.data().left(), y);
            }
            return backend.download(y);
        }
    }

    /** The loss of the layer's output by a metric. */
    public double loss(LayerMetric metric) {
        return metric.loss(observed.output(), output(), observed.gradients());
    }

    /** The network's logits for the calibration images, {@code [images, classes]}. */
    public Tensor logits() {
        try (Scope scope = backend.scope()) {
            Network network = observed.walked().network();
            return observed.unit() < 0 ? network.logits(mixed(scope), observed.images().pixels())
                    : network.logits(mixed(scope), observed.unit(), observed.unitInput(observed.unit(), scope));
        }
    }

    /**
     * What it costs the network: the mean Kullback-Leibler divergence, in nats, of its predictions for the calibration images from
     * those in float32.
     */
    public double divergence() {
        Tensor expected = observed.logits();
        Tensor found = logits();
        return IntStream.range(0, found.shape().size(0)).mapToDouble(i -> Predictions.divergence(expected, found, i)).average()
                .orElseThrow();
    }

    /** The float32 network's products, except of this layer. */
    private Arithmetic mixed(Scope owner) {
        Layer layer = observed.layer();
        Arithmetic floats = observed.walked().arithmetic();
        Optional<Backend.Linear> weights = layer.role().isMatmul() ? Optional.empty() : Optional.of(backend.linear(owner,
                right.map(q -> q.quantized(observed.right())).orElseGet(observed::right), observed.bias()));
        return new Arithmetic() {
            @Override
            public void linear(Layer other, View x, View y) {
                if (!other.equals(layer)) {
                    floats.linear(other, x, y);
                    return;
                }
                try (Scope scope = backend.scope()) {
                    backend.linear(quantized(x, left, scope), weights.orElseThrow(), y);
                }
            }

            @Override
            public void matmul(Layer other, View a, View b, View c) {
                if (!other.equals(layer)) {
                    floats.matmul(other, a, b, c);
                    return;
                }
                try (Scope scope = backend.scope()) {
                    backend.matmul(quantized(a, left, scope), quantized(b, right, scope), c);
                }
            }
        };
    }

    private View quantized(View operand, Optional<OperandQuantizer> quantizer, Scope scope) {
        if (quantizer.isEmpty()) {
            return operand;
        }
        View result = scope.floats(operand.sizes());
        backend.upload(quantizer.get().quantized(observed.host(operand)), result);
        return result;
    }
}
