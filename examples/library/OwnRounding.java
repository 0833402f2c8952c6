import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.Calibrations;
import io.github.ptq4vit.calibrate.ObservedLayer;
import io.github.ptq4vit.calibrate.Rounding;
import io.github.ptq4vit.evaluate.Accuracy;
import io.github.ptq4vit.model.LayerRole;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A rounding of one's own, coordinate descent: each code is moved by one wherever that makes the output's mean squared error
 * {@code e M e^T} smaller. Against rounding to the nearest codes, for weights of 3 bits with a scale for each output.
 */
public final class OwnRounding {
    private static final int WEIGHT_BITS = 3;
    private static final int SWEEPS = 4;

    private static final Rounding DESCENT = (weight, moments, rows) -> {
        byte[] codes = Rounding.NEAREST.codes(weight, moments, rows);
        int outputs = weight.shape().size(0);
        int inputs = weight.shape().size(1);
        IntStream.range(0, outputs).parallel().forEach(row -> {
            float scale = ((Quantizer.Uniform) rows.get(row * rows.size() / outputs)).scale();
            double[] error = new double[inputs];
            for (int i = 0; i < inputs; i++) {
                error[i] = weight.data().get(row * inputs + i) - codes[row * inputs + i] * scale;
            }
            for (int sweep = 0; sweep < SWEEPS; sweep++) {
                for (int i = 0; i < inputs; i++) {
                    double slope = 0;
                    for (int j = 0; j < inputs; j++) {
                        slope += moments[i][j] * error[j];
                    }
                    // a code that is one more takes the scale off the error: e M e^T changes by scale (scale M_ii - 2 slope)
                    int step = slope > 0 ? 1 : -1;
                    int code = codes[row * inputs + i] + step;
                    if (scale * moments[i][i] < 2 * Math.abs(slope) && code >= -(1 << WEIGHT_BITS - 1) && code < 1 << WEIGHT_BITS - 1) {
                        codes[row * inputs + i] = (byte) code;
                        error[i] -= step * scale;
                    }
                }
            }
        });
        return codes;
    };

    private OwnRounding() {
    }

    public static void main(String[] args) {
        Characters example = Characters.in(args[0]);
        CalibrationImages images = example.images(32);
        try (Backend backend = Backends.open("auto")) {
            for (boolean descent : new boolean[] {false, true}) {
                List<QuantizedLayer> layers = Calibrations.quantized(example.model(), backend, images,
                        layer -> quantized(layer, descent ? DESCENT : Rounding.NEAREST));
                Accuracy accuracy = example.accuracy(backend, example.model(), layers);
                System.out.printf("%s: divergence %.4f, top-1 %.2f %%%n", descent ? "descent" : "nearest",
                        accuracy.paired().orElseThrow().divergence(), 100 * accuracy.top1());
            }
        }
    }

    private static QuantizedLayer quantized(ObservedLayer layer, Rounding rounding) {
        List<Quantizer> left = layer.layer().role() == LayerRole.PATCH_EMBEDDING ? List.of() : List.of(covering(layer.left(), 0, 1, 8));
        List<Quantizer> right = new ArrayList<>();
        int groups = layer.layer().role().isMatmul() ? 1 : layer.layer().outputs();
        for (int group = 0; group < groups; group++) {
            right.add(covering(layer.right(), group, groups, layer.layer().role().isMatmul() ? 8 : WEIGHT_BITS));
        }
        return layer.quantized(left, right, rounding);
    }

    /** The uniform quantiser that covers one of equally many consecutive parts of the numbers. */
    private static Quantizer covering(Tensor operand, int part, int parts, int bits) {
        int size = operand.data().limit() / parts;
        float largest = Float.MIN_NORMAL;
        for (int i = part * size; i < (part + 1) * size; i++) {
            largest = Math.max(largest, Math.abs(operand.data().get(i)));
        }
        return new Quantizer.Uniform(largest / ((1 << bits - 1) - 0.5f), bits);
    }
}
