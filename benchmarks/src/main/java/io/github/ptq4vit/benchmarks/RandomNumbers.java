package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Random;

/** Reproducible numbers to measure with. */
final class RandomNumbers {
    private RandomNumbers() {
    }

    static Tensor normal(long seed, double deviation, int... sizes) {
        Random random = new Random(seed);
        float[] numbers = new float[Math.toIntExact(Shape.of(sizes).elements())];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) (deviation * random.nextGaussian());
        }
        return Tensor.of(Shape.of(sizes), numbers);
    }

    static Tensor squares(long seed, double deviation, int... sizes) {
        float[] numbers = normal(seed, deviation, sizes).toArray();
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] *= numbers[i];
        }
        return Tensor.of(Shape.of(sizes), numbers);
    }
}
