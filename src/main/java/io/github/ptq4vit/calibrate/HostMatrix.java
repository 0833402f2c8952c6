package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * A matrix on the host.
 *
 * @param numbers row-major
 * @param columns length of a row
 */
record HostMatrix(float[] numbers, int columns) {

    /** A copy of a view; all axes but the last are rows. */
    static HostMatrix of(View view, Backend backend) {
        if (view.isDense()) {
            return new HostMatrix(backend.download(view).toArray(), view.size(-1));
        }
        try (Scope scope = backend.scope()) {
            View dense = new Parallel(backend).dense(view, scope);
            return new HostMatrix(backend.download(dense).toArray(), view.size(-1));
        }
    }

    int rows() {
        return numbers.length / columns;
    }

    float at(int row, int column) {
        return numbers[row * columns + column];
    }

    /** Mean of each row, divided by the mean of all; ones if all is zero. */
    double[] rowShares() {
        double[] means = new double[rows()];
        for (int i = 0; i < numbers.length; i++) {
            means[i / columns] += numbers[i];
        }
        return dividedByMean(means);
    }

    /** Mean of each column, divided by the mean of all; ones if all is zero. */
    double[] columnShares() {
        return dividedByMean(columnSums(new double[0]));
    }

    /** Sum of each column, rows weighted. */
    double[] columnSums(double[] rowWeights) {
        double[] sums = new double[columns];
        for (int i = 0; i < numbers.length; i++) {
            sums[i % columns] += rowWeights.length == 0 ? numbers[i] : rowWeights[i / columns] * numbers[i];
        }
        return sums;
    }

    /** Weighted mean of each column; the weights' mean is 1. */
    double[] columnMeans(double[] rowWeights) {
        return Arrays.stream(columnSums(rowWeights)).map(sum -> sum / rows()).toArray();
    }

    /** Mean over the rows of the weighted squares of each column less an offset. */
    double[] columnSquares(double[] rowWeights, double[] offsets) {
        double[] sums = new double[columns];
        for (int row = 0; row < rows(); row++) {
            double weight = rowWeights.length == 0 ? 1 : rowWeights[row];
            for (int c = 0; c < columns; c++) {
                double x = numbers[row * columns + c] - (offsets.length == 0 ? 0 : offsets[c]);
                sums[c] += weight * x * x;
            }
        }
        for (int c = 0; c < columns; c++) {
            sums[c] /= rows();
        }
        return sums;
    }

    /** Whether some rows hold nothing but zeros. */
    boolean isZero(int[] some) {
        return Arrays.stream(some).allMatch(row -> IntStream.range(row * columns, (row + 1) * columns).allMatch(i -> numbers[i] == 0));
    }

    /** Largest magnitude of each column. */
    double[] columnMaxima() {
        double[] maxima = new double[columns];
        for (int i = 0; i < numbers.length; i++) {
            maxima[i % columns] = Math.max(maxima[i % columns], Math.abs(numbers[i]));
        }
        return maxima;
    }

    static double[] dividedByMean(double[] numbers) {
        double sum = 0;
        for (double number : numbers) {
            sum += number;
        }
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = sum > 0 ? numbers[i] * numbers.length / sum : 1;
        }
        return numbers;
    }

    /** {@code part * x + 1 - part} for each: shares of a sum, none of which vanishes. */
    static double[] floored(double[] shares, double part) {
        double[] floored = new double[shares.length];
        for (int i = 0; i < shares.length; i++) {
            floored[i] = part * shares[i] + 1 - part;
        }
        return floored;
    }
}
