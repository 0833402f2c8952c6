package io.github.ptq4vit.backend;

/** Normalisation and softmax with their gradients, in float64. Arrays are rows after rows. */
final class PlainFunctions {
    private PlainFunctions() {
    }

    static double[] layerNorm(double[] x, double[] gamma, double[] beta, double epsilon) {
        double[] y = new double[x.length];
        int columns = gamma.length;
        for (int row = 0; row < x.length; row += columns) {
            double mean = mean(x, row, columns);
            double deviation = deviation(x, row, columns, epsilon);
            for (int i = 0; i < columns; i++) {
                y[row + i] = (x[row + i] - mean) / deviation * gamma[i] + beta[i];
            }
        }
        return y;
    }

    /** {@code dx = (g - mean(g) - z mean(g z)) / deviation} with z the normalised row and g = gamma dy. */
    static double[] layerNormBackward(double[] x, double[] gamma, double epsilon, double[] dy) {
        double[] dx = new double[x.length];
        int columns = gamma.length;
        double[] g = new double[columns];
        double[] z = new double[columns];
        double[] gz = new double[columns];
        for (int row = 0; row < x.length; row += columns) {
            double mean = mean(x, row, columns);
            double deviation = deviation(x, row, columns, epsilon);
            for (int i = 0; i < columns; i++) {
                g[i] = gamma[i] * dy[row + i];
                z[i] = (x[row + i] - mean) / deviation;
                gz[i] = g[i] * z[i];
            }
            double meanG = mean(g, 0, columns);
            double meanGz = mean(gz, 0, columns);
            for (int i = 0; i < columns; i++) {
                dx[row + i] = (g[i] - meanG - z[i] * meanGz) / deviation;
            }
        }
        return dx;
    }

    static double[] softmax(double[] x, int columns, double scale) {
        double[] y = new double[x.length];
        for (int row = 0; row < x.length; row += columns) {
            double largest = Double.NEGATIVE_INFINITY;
            for (int i = row; i < row + columns; i++) {
                largest = Math.max(largest, scale * x[i]);
            }
            double sum = 0;
            for (int i = row; i < row + columns; i++) {
                y[i] = Math.exp(scale * x[i] - largest);
                sum += y[i];
            }
            for (int i = row; i < row + columns; i++) {
                y[i] /= sum;
            }
        }
        return y;
    }

    /** {@code dx = scale y (dy - sum(y dy))}. */
    static double[] softmaxBackward(double[] y, double[] dy, int columns, double scale) {
        double[] dx = new double[y.length];
        for (int row = 0; row < y.length; row += columns) {
            double sum = 0;
            for (int i = row; i < row + columns; i++) {
                sum += y[i] * dy[i];
            }
            for (int i = row; i < row + columns; i++) {
                dx[i] = scale * y[i] * (dy[i] - sum);
            }
        }
        return dx;
    }

    private static double mean(double[] numbers, int from, int count) {
        double sum = 0;
        for (int i = from; i < from + count; i++) {
            sum += numbers[i];
        }
        return sum / count;
    }

    private static double deviation(double[] x, int from, int count, double epsilon) {
        double mean = mean(x, from, count);
        double sum = 0;
        for (int i = from; i < from + count; i++) {
            sum += (x[i] - mean) * (x[i] - mean);
        }
        return Math.sqrt(sum / count + epsilon);
    }
}
