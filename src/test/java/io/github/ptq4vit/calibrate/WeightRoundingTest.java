package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.quant.Quantizer;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rounding with error feedback, judged by what products with inputs lose. */
class WeightRoundingTest {
    private static final int INPUTS = 24;
    private static final int OUTPUTS = 40;
    private static final int ROWS = 400;

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void itLosesLessThanTheNearestCodesOnInputsThatItHasNotSeen(boolean companded) {
        Random random = new Random(1);
        double[][] mixing = gaussian(random, INPUTS, INPUTS);
        double[][] seen = product(gaussian(random, ROWS, 6), mixing, random);
        double[][] unseen = product(gaussian(random, ROWS, 6), mixing, random);
        float[] weight = weight(random);
        for (int bits = 2; bits <= 6; bits++) {
            double[][] moments = moments(seen);
            double[] diagonal = IntStream.range(0, INPUTS).mapToDouble(i -> moments[i][i]).toArray();
            double nearest = loss(unseen, weight, WeightRounding.nearest(weight, diagonal, bits, companded));
            double feedback = loss(unseen, weight, new WeightRounding(moments, 0.01).round(weight, bits, companded));
            assertTrue(feedback < 0.8 * nearest, bits + " bits: " + feedback + " against " + nearest);
        }
    }

    @Test
    void independentInputsGetTheNearestCodes() {
        float[] weight = weight(new Random(2));
        double[][] identity = new double[INPUTS][INPUTS];
        double[] ones = new double[INPUTS];
        for (int i = 0; i < INPUTS; i++) {
            identity[i][i] = 1;
            ones[i] = 1;
        }
        WeightRounding.Rounded nearest = WeightRounding.nearest(weight, ones, 4, false);
        WeightRounding.Rounded feedback = new WeightRounding(identity, 0.3).round(weight, 4, false);
        assertArrayEquals(nearest.codes(), feedback.codes());
        assertEquals(nearest.rows(), feedback.rows());
    }

    @Test
    void compandedLevelsLoseLessOfNormallyDistributedWeights() {
        Random random = new Random(5);
        float[] weight = new float[OUTPUTS * INPUTS * 20];
        for (int i = 0; i < weight.length; i++) {
            weight[i] = (float) random.nextGaussian();
        }
        double[] wide = IntStream.range(0, 20 * INPUTS).mapToDouble(i -> 1).toArray();
        for (int bits = 3; bits <= 5; bits++) {
            WeightRounding.Rounded companded = WeightRounding.nearest(weight, wide, bits, true);
            assertTrue(companded.rows().stream().allMatch(row -> row instanceof Quantizer.Companded));
            double even = error(weight, WeightRounding.nearest(weight, wide, bits, false));
            assertTrue(error(weight, companded) < 0.95 * even, bits + " bits: " + error(weight, companded) + " against " + even);
        }
    }

    private static double error(float[] weight, WeightRounding.Rounded rounded) {
        float[] numbers = rounded.numbers();
        return IntStream.range(0, weight.length).mapToDouble(i -> (weight[i] - numbers[i]) * (weight[i] - numbers[i])).sum();
    }

    /** With two inputs all pairs of codes can be tried. */
    @Test
    void twoInputsGetTheBestPairOfCodes() {
        Random random = new Random(3);
        for (int trial = 0; trial < 50; trial++) {
            double correlation = random.nextDouble() * 0.8;
            double[][] moments = {{1, correlation}, {correlation, 0.7}};
            float[] weight = {(float) random.nextGaussian(), (float) random.nextGaussian()};
            WeightRounding.Rounded rounded = new WeightRounding(moments, 0).round(weight, 4, false);
            Quantizer.Affine grid = (Quantizer.Affine) rounded.rows().get(0);
            double found = quadratic(moments, weight, rounded.codes()[0], rounded.codes()[1], grid.scale());
            for (int a = -grid.zeroPoint(); a <= 15 - grid.zeroPoint(); a++) {
                for (int b = -grid.zeroPoint(); b <= 15 - grid.zeroPoint(); b++) {
                    // coordinate descent may stay on a ridge, where only moving both codes helps, but never far from the best
                    assertTrue(found <= 1.5 * quadratic(moments, weight, a, b, grid.scale()) + 1e-12);
                }
            }
        }
    }

    @Test
    void inputsThatAreAlwaysZeroDoNoHarm() {
        float[] weight = weight(new Random(4));
        WeightRounding.Rounded rounded = new WeightRounding(new double[INPUTS][INPUTS], 0.3).round(weight, 4, false);
        for (int i = 0; i < weight.length; i++) {
            Quantizer.Affine grid = (Quantizer.Affine) rounded.rows().get(i / INPUTS);
            assertEquals(grid.quantize(weight[i]), rounded.codes()[i] * grid.scale());
        }
    }

    private static double quadratic(double[][] h, float[] weight, int a, int b, double scale) {
        double x = weight[0] - a * scale;
        double y = weight[1] - b * scale;
        return h[0][0] * x * x + 2 * h[0][1] * x * y + h[1][1] * y * y;
    }

    private static float[] weight(Random random) {
        float[] weight = new float[OUTPUTS * INPUTS];
        for (int i = 0; i < weight.length; i++) {
            weight[i] = (float) random.nextGaussian();
        }
        return weight;
    }

    private static double[][] gaussian(Random random, int rows, int columns) {
        double[][] numbers = new double[rows][columns];
        for (double[] row : numbers) {
            for (int i = 0; i < columns; i++) {
                row[i] = random.nextGaussian();
            }
        }
        return numbers;
    }

    /** Few directions, and a little of all. */
    private static double[][] product(double[][] few, double[][] mixing, Random random) {
        double[][] result = gaussian(random, few.length, INPUTS);
        for (int row = 0; row < few.length; row++) {
            for (int c = 0; c < INPUTS; c++) {
                result[row][c] *= 0.3;
                for (int k = 0; k < few[row].length; k++) {
                    result[row][c] += few[row][k] * mixing[k][c];
                }
            }
        }
        return result;
    }

    private static double[][] moments(double[][] inputs) {
        double[][] moments = new double[INPUTS][INPUTS];
        for (double[] row : inputs) {
            for (int i = 0; i < INPUTS; i++) {
                for (int j = 0; j < INPUTS; j++) {
                    moments[i][j] += row[i] * row[j] / inputs.length;
                }
            }
        }
        return moments;
    }

    private static double loss(double[][] inputs, float[] weight, WeightRounding.Rounded rounded) {
        double loss = 0;
        float[] numbers = rounded.numbers();
        for (double[] row : inputs) {
            for (int o = 0; o < OUTPUTS; o++) {
                double error = 0;
                for (int i = 0; i < INPUTS; i++) {
                    error += row[i] * (weight[o * INPUTS + i] - numbers[o * INPUTS + i]);
                }
                loss += error * error;
            }
        }
        return loss;
    }
}
