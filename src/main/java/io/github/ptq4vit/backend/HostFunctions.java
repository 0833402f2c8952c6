package io.github.ptq4vit.backend;

import java.util.Arrays;
import java.util.Optional;
import org.apache.commons.math3.special.Erf;

/**
 * Functions of arrays on the host, what {@link Backend} does by default: numbers come down, are changed and go up. Those of the
 * forward pass in the order of operations that reproducible results have, gradients in float64.
 */
final class HostFunctions {
    private HostFunctions() {
    }

    /** Changes numbers. */
    @FunctionalInterface
    interface Change {
        void apply(float[] numbers);
    }

    static void change(Backend device, View x, View y, Change change) {
        float[] numbers = HostOperations.numbers(device, x);
        change.apply(numbers);
        HostOperations.write(device, numbers, y);
    }

    static void layerNorm(Backend device, View x, View gamma, View beta, float epsilon, View y) {
        Checks.layerNorm(x, gamma, beta, y);
        float[] factors = HostOperations.numbers(device, gamma);
        float[] summands = HostOperations.numbers(device, beta);
        FixedOrder functions = new FixedOrder(factors.length);
        change(device, x, y, numbers -> {
            for (int row = 0; row < numbers.length; row += factors.length) {
                float[] own = Arrays.copyOfRange(numbers, row, row + factors.length);
                functions.layerNorm(own, factors, summands, epsilon);
                System.arraycopy(own, 0, numbers, row, own.length);
            }
        });
    }

    /** {@code dx = (g - mean(g) - z mean(g z)) / deviation} with z the normalised row and g = gamma dy. */
    static void layerNormBackward(Backend device, View x, View gamma, float epsilon, View dy, View dx) {
        Checks.layerNorm(x, gamma, gamma, dy, dx);
        float[] factors = HostOperations.numbers(device, gamma);
        float[] gradient = HostOperations.numbers(device, dy);
        int columns = factors.length;
        change(device, x, dx, numbers -> {
            for (int row = 0; row < numbers.length; row += columns) {
                double mean = 0;
                double square = 0;
                for (int i = 0; i < columns; i++) {
                    mean += (double) numbers[row + i] / columns;
                }
                for (int i = 0; i < columns; i++) {
                    square += (numbers[row + i] - mean) * (numbers[row + i] - mean) / columns;
                }
                double deviation = Math.sqrt(square + epsilon);
                double meanG = 0;
                double meanGz = 0;
                for (int i = 0; i < columns; i++) {
                    double g = (double) factors[i] * gradient[row + i] / columns;
                    meanG += g;
                    meanGz += g * (numbers[row + i] - mean) / deviation;
                }
                for (int i = 0; i < columns; i++) {
                    double g = (double) factors[i] * gradient[row + i];
                    numbers[row + i] = (float) ((g - meanG - (numbers[row + i] - mean) / deviation * meanGz) / deviation);
                }
            }
        });
    }

    static void softmax(Backend device, View x, float scale, View y) {
        Checks.rows(x, y);
        change(device, x, y, numbers -> new FixedOrder(numbers.length).softmax(numbers, numbers.length, x.size(-1), scale));
    }

    /** {@code dx = scale y (dy - sum(y dy))}. */
    static void softmaxBackward(Backend device, View y, View dy, float scale, View dx) {
        Checks.rows(y, dy, dx);
        float[] gradient = HostOperations.numbers(device, dy);
        int columns = y.size(-1);
        change(device, y, dx, numbers -> {
            for (int row = 0; row < numbers.length; row += columns) {
                double sum = 0;
                for (int i = row; i < row + columns; i++) {
                    sum += (double) numbers[i] * gradient[i];
                }
                for (int i = row; i < row + columns; i++) {
                    numbers[i] = (float) (scale * numbers[i] * (gradient[i] - sum));
                }
            }
        });
    }

    static void gelu(Backend device, View x, View y) {
        Checks.alike(x, y);
        change(device, x, y, numbers -> new FixedOrder(numbers.length).gelu(numbers, numbers.length));
    }

    static void geluBackward(Backend device, View x, View dy, View dx) {
        Checks.alike(x, dy, dx);
        float[] gradient = HostOperations.numbers(device, dy);
        change(device, x, dx, numbers -> {
            for (int i = 0; i < numbers.length; i++) {
                double at = numbers[i];
                double density = Math.exp(-at * at / 2) / Math.sqrt(2 * Math.PI);
                numbers[i] = (float) (gradient[i] * (Erf.erfc(-at / Math.sqrt(2)) / 2 + at * density));
            }
        });
    }

    static void add(Backend device, View a, View b, View c) {
        Checks.add(a, b, c);
        float[] repeated = HostOperations.numbers(device, b);
        change(device, a, c, numbers -> {
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] += repeated[i % repeated.length];
            }
        });
    }

    static void multiply(Backend device, View x, View factors, View y) {
        Checks.multiply(x, factors, y);
        float[] repeated = HostOperations.numbers(device, factors);
        change(device, x, y, numbers -> {
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] *= repeated[i % repeated.length];
            }
        });
    }

    static void addSquare(Backend device, View x, float factor, View sum) {
        Checks.alike(x, sum);
        float[] summands = HostOperations.numbers(device, x);
        change(device, sum, sum, numbers -> {
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] += factor * summands[i] * summands[i];
            }
        });
    }

    static void magnitudes(Backend device, View x, View y) {
        Checks.alike(x, y);
        change(device, x, y, numbers -> {
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = Math.abs(numbers[i]);
            }
        });
    }

    static void gather(Backend device, View from, int[] rows, View to) {
        Checks.gather(from, rows, to);
        for (int i = 0; i < rows.length; i++) {
            device.copy(from.at(rows[i]), to.at(i));
        }
    }

    static void decoded(Backend device, View x, CodeGrid grid, View y) {
        Checks.rows(x, y);
        change(device, x, y, numbers -> HostOperations.decode(numbers, x.size(-1), grid));
    }

    static void hadamard(Backend device, View x, int block, View y) {
        Checks.hadamard(x, block, y);
        change(device, x, y, numbers -> HostOperations.hadamard(numbers, numbers.length, block));
    }

    static double[] squaredErrors(Backend device, View a, View b, Optional<View> w) {
        Checks.groups(a, b, w.orElse(b));
        return HostOperations.squaredErrors(HostOperations.numbers(device, a), HostOperations.numbers(device, b),
                w.map(weights -> HostOperations.numbers(device, weights)).orElse(null), a.size(1), a.size(2));
    }

    static float[] maxima(Backend device, View x, boolean absolute) {
        Checks.groups(x);
        float[] numbers = HostOperations.numbers(device, x);
        float[] maxima = new float[x.size(1)];
        Arrays.fill(maxima, Float.NEGATIVE_INFINITY);
        for (int i = 0; i < numbers.length; i++) {
            int group = i / x.size(2) % maxima.length;
            maxima[group] = Math.max(maxima[group], absolute ? Math.abs(numbers[i]) : numbers[i]);
        }
        return maxima;
    }

    static double[] rowSums(Backend device, View x) {
        Checks.rows(x);
        float[] numbers = HostOperations.numbers(device, x);
        double[] sums = new double[numbers.length / x.size(-1)];
        for (int i = 0; i < numbers.length; i++) {
            sums[i / x.size(-1)] += numbers[i];
        }
        return sums;
    }
}
