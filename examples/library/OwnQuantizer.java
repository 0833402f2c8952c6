import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.Calibrations;
import io.github.ptq4vit.calibrate.OperandQuantizer;
import io.github.ptq4vit.tensor.Tensor;

/**
 * Which format of 4 bits suits which layer? A quantiser of one's own, the 4-bit floating-point format E2M1 with a scale, against
 * uniform codes, each in one layer at a time: what the network's predictions lose.
 */
public final class OwnQuantizer {
    private OwnQuantizer() {
    }

    public static void main(String[] args) {
        Characters example = Characters.in(args[0]);
        System.out.println("divergence with a 4-bit left operand, floating-point and uniform");
        try (Backend backend = Backends.open("auto")) {
            Calibrations.forEachLayer(example.model(), backend, example.images(8), layer -> {
                float largest = largest(layer.left());
                System.out.printf("%-24s %.6f %.6f%n", layer.layer().name(), layer.tryLeft(new FloatingPoint(largest / 6)).divergence(),
                        layer.tryLeft(new Uniform(largest / 7.5f)).divergence());
            });
        }
    }

    /** One sign, two exponent bits, one mantissa bit: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, times a scale. */
    private record FloatingPoint(float scale) implements OperandQuantizer.Scalar {
        private static final float[] MAGNITUDES = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

        @Override
        public int encode(float x) {
            int best = 0;
            for (int code = 1; code < MAGNITUDES.length; code++) {
                best = Math.abs(Math.abs(x) - scale * MAGNITUDES[code]) < Math.abs(Math.abs(x) - scale * MAGNITUDES[best]) ? code : best;
            }
            return x < 0 ? best + MAGNITUDES.length : best;
        }

        @Override
        public float decode(int code) {
            return code < MAGNITUDES.length ? scale * MAGNITUDES[code] : -scale * MAGNITUDES[code - MAGNITUDES.length];
        }
    }

    private record Uniform(float scale) implements OperandQuantizer.Scalar {
        @Override
        public int encode(float x) {
            return Math.max(-8, Math.min(7, Math.round(x / scale)));
        }

        @Override
        public float decode(int code) {
            return code * scale;
        }
    }

    private static float largest(Tensor operand) {
        float largest = Float.MIN_NORMAL;
        for (float x : operand.toArray()) {
            largest = Math.max(largest, Math.abs(x));
        }
        return largest;
    }
}
