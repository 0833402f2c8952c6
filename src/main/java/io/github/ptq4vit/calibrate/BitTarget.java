package io.github.ptq4vit.calibrate;

import java.util.Locale;

/** What bit widths of a layer of its own are chosen for. */
public sealed interface BitTarget {

    /**
     * At most so many bits on average, of all weights, and of all numbers that go into quantised products.
     *
     * @param bits 2 to 8
     */
    record AverageBits(double bits) implements BitTarget {
        public AverageBits {
            if (!(bits >= 2 && bits <= 8)) {
                throw new IllegalArgumentException("Bits on average must be from 2 to 8, for example 5, not " + bits);
            }
        }

        @Override
        public String toString() {
            return String.format(Locale.ROOT, "%s bits on average", bits);
        }
    }

    /**
     * As few bits on average as lose at most so many points of top-1 accuracy, measured on the calibration images without labels: a
     * prediction counts as right as often as the float32 model's probabilities say.
     *
     * @param points 0 to 100
     */
    record MaxDrop(double points) implements BitTarget {
        public MaxDrop {
            if (!(points >= 0 && points <= 100)) {
                throw new IllegalArgumentException("A drop is given in points of accuracy, from 0 to 100, for example 0.5, not " + points);
            }
        }

        @Override
        public String toString() {
            return String.format(Locale.ROOT, "%s points at most", points);
        }
    }

    /**
     * At most so many bytes of weights: codes at their bit widths, their scales, and all other parameters as float32. Activations keep
     * the usual bit width.
     */
    record Size(long bytes) implements BitTarget {
        public Size {
            if (bytes < 1) {
                throw new IllegalArgumentException("A size must be positive, for example 3MB, not " + bytes);
            }
        }

        @Override
        public String toString() {
            return bytes + " bytes";
        }
    }
}
