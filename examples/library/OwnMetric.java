import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.Calibrations;
import io.github.ptq4vit.calibrate.LayerMetric;
import io.github.ptq4vit.calibrate.ObservedLayer;
import io.github.ptq4vit.calibrate.OperandQuantizer;
import io.github.ptq4vit.calibrate.Rounding;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.function.Function;

/**
 * A metric of one's own chooses the scales of a model of 5 bits: the mean of {@code |g| |O - O^|}, errors that count by the size of
 * the gradient, not by its square. Activations first, then weights.
 */
public final class OwnMetric {
    private static final int BITS = 5;
    private static final int CANDIDATES = 12;

    private static final LayerMetric WEIGHTED_L1 = (output, candidate, gradients) -> {
        double sum = 0;
        for (int i = 0; i < output.data().limit(); i++) {
            sum += Math.sqrt(gradients.data().get(i)) * Math.abs(output.data().get(i) - candidate.data().get(i));
        }
        return sum / output.data().limit();
    };

    private OwnMetric() {
    }

    public static void main(String[] args) {
        Characters example = Characters.in(args[0]);
        try (Backend backend = Backends.open("auto")) {
            List<QuantizedLayer> layers = Calibrations.quantized(example.model(), backend, example.images(8), OwnMetric::quantized);
            System.out.printf("top-1 %.2f %%%n", 100 * example.accuracy(backend, example.model(), layers).top1());
        }
    }

    private static QuantizedLayer quantized(ObservedLayer layer) {
        // the patch embedding's input stays in float32
        List<Quantizer> left = layer.layer().role() == LayerRole.PATCH_EMBEDDING ? List.of()
                : List.of(best(layer.left(), q -> layer.tryLeft(q).loss(WEIGHTED_L1)));
        List<Quantizer> right = List.of(best(layer.right(), q -> layer.tryRight(q).loss(WEIGHTED_L1)));
        return layer.quantized(left, right, Rounding.NEAREST);
    }

    /** The best of scales from the one that covers all numbers down to a third of it. */
    private static Quantizer best(Tensor operand, Function<OperandQuantizer, Double> loss) {
        float largest = Float.MIN_NORMAL;
        for (float x : operand.toArray()) {
            largest = Math.max(largest, Math.abs(x));
        }
        Quantizer best = null;
        double least = Double.POSITIVE_INFINITY;
        for (int i = 0; i < CANDIDATES; i++) {
            float scale = largest / ((1 << BITS - 1) - 0.5f) * (1 - 2f * i / 3 / CANDIDATES);
            Quantizer candidate = new Quantizer.Uniform(scale, BITS);
            double found = loss.apply(OperandQuantizer.of(candidate));
            if (found < least) {
                best = candidate;
                least = found;
            }
        }
        return best;
    }
}
