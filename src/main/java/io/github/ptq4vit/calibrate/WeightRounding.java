package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.Quantizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.BiFunction;
import java.util.stream.IntStream;

/**
 * Rounds a weight matrix so that its products with calibration inputs change little: {@code trace (W - Wq) H (W - Wq)^T} for the
 * inputs' weighted second moments H. Each output channel has a scale of its own, chosen by the diagonal of H, of either sign. Codes
 * are rounded one input channel after the other, in order of falling diagonal, each taking the errors before it into account (GPTQ,
 * Frantar et al., arXiv 2210.17323, in the form of Chee et al., arXiv 2307.13304, that needs no inverse); then each code is
 * moved as long as that helps. Rows are independent and every sum has one order, so the codes are the same on every machine.
 */
final class WeightRounding {
    private static final int SCALES = 48;
    private static final double SMALLEST_SCALE = 0.35;
    private static final double LARGEST_SCALE = 1.05;
    private static final int SWEEPS = 2;

    private final int inputs;
    private final double[][] hessian;
    private final double added;
    /** Input channels in the order of rounding. */
    private final int[] order;
    /** What an error of the i-th channel in order adds to the target of later ones, {@code [i][j]}, 0 up to i. */
    private final double[][] feedback;

    /**
     * Factorises H once for all rows.
     *
     * @param hessian H, {@code [inputs][inputs]}, symmetric; it is damped in place
     * @param damping added to the diagonal, as a part of its mean
     */
    WeightRounding(double[][] hessian, double damping) {
        this.inputs = hessian.length;
        this.hessian = hessian;
        double mean = IntStream.range(0, inputs).mapToDouble(i -> hessian[i][i]).average().orElseThrow();
        this.added = mean > 0 ? damping * mean : 1;
        for (int i = 0; i < inputs; i++) {
            hessian[i][i] += added;
        }
        this.order = IntStream.range(0, inputs).boxed().sorted(Comparator.comparingDouble((Integer i) -> -hessian[i][i])
                .thenComparing(i -> i)).mapToInt(i -> i).toArray();
        this.feedback = feedback();
    }

    /**
     * Codes and quantisers of a matrix.
     *
     * @param curves of levels, by the error of the nearest ones under the diagonal of the moments; none where there is no choice
     */
    record Rounded(byte[] codes, List<Quantizer> rows, List<LayerRecord.Curve> curves) {

        /** What the codes stand for. */
        float[] numbers() {
            float[] scales = new float[rows.size()];
            for (int row = 0; row < scales.length; row++) {
                scales[row] = rows.get(row).grid().ranges().get(0).step();
            }
            float[] numbers = new float[codes.length];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = codes[i] * scales[i / (codes.length / scales.length)];
            }
            return numbers;
        }
    }

    /**
     * Rounds {@code [outputs, inputs]}.
     *
     * @param companded whether levels may be companded, those of all rows alike
     */
    Rounded round(float[] weight, int bits, boolean companded) {
        double[] diagonal = IntStream.range(0, inputs).mapToDouble(i -> hessian[i][i]).toArray();
        return rounded(weight, diagonal, bits, companded, (own, start) -> best(own, start, bits));
    }

    /** The error of each row, {@code e H e^T} without the damping. */
    double[] losses(float[] weight, Rounded rounded) {
        float[] numbers = rounded.numbers();
        return IntStream.range(0, weight.length / inputs).parallel().mapToDouble(row -> {
            double[] error = new double[inputs];
            for (int i = 0; i < inputs; i++) {
                error[i] = weight[row * inputs + i] - numbers[row * inputs + i];
            }
            double sum = 0;
            for (int i = 0; i < inputs; i++) {
                double product = 0;
                for (int j = 0; j < inputs; j++) {
                    product += hessian[i][j] * error[j];
                }
                sum += error[i] * (product - added * error[i]);
            }
            return sum;
        }).toArray();
    }

    /** To the nearest codes under the scale that the diagonal of the moments prefers. */
    static Rounded nearest(float[] weight, double[] diagonal, int bits, boolean companded) {
        return rounded(weight, diagonal, bits, companded, (own, start) -> start);
    }

    private static Rounded rounded(float[] weight, double[] diagonal, int bits, boolean companded,
            BiFunction<double[], Row, Row> improved) {
        int inputs = diagonal.length;
        List<Row[]> tried = new ArrayList<>(List.<Row[]>of(starts(weight, diagonal, WeightLevels.even(bits))));
        for (WeightLevels levels : companded ? WeightLevels.companded(bits) : List.<WeightLevels>of()) {
            tried.add(starts(weight, diagonal, List.of(levels)));
        }
        List<LayerRecord.Curve> curves = List.of();
        int best = 0;
        if (tried.size() > 1) {
            double[] errors = tried.stream().mapToDouble(rows -> error(weight, diagonal, rows)).toArray();
            best = IntStream.range(0, errors.length).reduce(0, (least, i) -> errors[i] < errors[least] ? i : least);
            curves = LayerRecord.Curve.of(Operand.RIGHT, 0, tried.stream().map(rows -> rows[0].levels.quantizer(1)).toList(), errors);
        }
        Row[] starts = tried.get(best);
        byte[] codes = new byte[weight.length];
        Quantizer[] quantizers = new Quantizer[starts.length];
        IntStream.range(0, starts.length).parallel().forEach(row -> {
            Row found = improved.apply(row(weight, inputs, row), starts[row]);
            quantizers[row] = found.levels.quantizer((float) found.scale);
            for (int i = 0; i < inputs; i++) {
                codes[row * inputs + i] = (byte) found.codes[i];
            }
        });
        return new Rounded(codes, new ArrayList<>(Arrays.asList(quantizers)), curves);
    }

    private static Row[] starts(float[] weight, double[] diagonal, List<WeightLevels> levels) {
        return IntStream.range(0, weight.length / diagonal.length).parallel()
                .mapToObj(row -> scaled(row(weight, diagonal.length, row), diagonal, levels)).toArray(Row[]::new);
    }

    private static double error(float[] weight, double[] diagonal, Row[] rows) {
        double sum = 0;
        for (int i = 0; i < weight.length; i++) {
            Row row = rows[i / diagonal.length];
            double error = weight[i] - row.codes[i % diagonal.length] * row.scale;
            sum += diagonal[i % diagonal.length] * error * error;
        }
        return sum;
    }

    private static double[] row(float[] weight, int inputs, int row) {
        return IntStream.range(0, inputs).mapToDouble(i -> weight[row * inputs + i]).toArray();
    }

    private Row best(double[] weight, Row start, int bits) {
        Row best = null;
        double least = Double.POSITIVE_INFINITY;
        for (double factor : bits <= 3 ? new double[] {0.75, 0.85, 0.93, 1, 1.08} : new double[] {1}) {
            Row row = new Row((float) (start.scale * factor), start.levels, new int[inputs]);
            withFeedback(weight, row);
            double[] gradient = gradient(weight, row);
            for (int sweep = 0; sweep < SWEEPS; sweep++) {
                descend(row, gradient);
            }
            double error = error(weight, row, gradient);
            if (error < least) {
                best = row;
                least = error;
            }
        }
        return best;
    }

    /** A row of codes. */
    private record Row(double scale, WeightLevels levels, int[] codes) {
        int code(double target) {
            return levels.code(target / scale);
        }
    }

    /** The row of the nearest codes, under the scale and the levels that the diagonal of the moments prefers. */
    private static Row scaled(double[] weight, double[] diagonal, List<WeightLevels> choices) {
        double largest = Arrays.stream(weight).map(Math::abs).max().orElseThrow();
        Row best = null;
        double least = Double.POSITIVE_INFINITY;
        for (WeightLevels levels : choices) {
            for (int i = 0; i < SCALES; i++) {
                double factor = LARGEST_SCALE - i * (LARGEST_SCALE - SMALLEST_SCALE) / SCALES;
                // as the float32 that it is stored as
                Row row = new Row((float) Math.max(Float.MIN_NORMAL, factor * largest / levels.largest()), levels, new int[weight.length]);
                double error = 0;
                for (int c = 0; c < weight.length && error < least; c++) {
                    row.codes[c] = row.code(weight[c]);
                    double difference = weight[c] - row.codes[c] * row.scale;
                    error += diagonal[c] * difference * difference;
                }
                if (error < least) {
                    least = error;
                    best = row;
                }
            }
        }
        return best;
    }

    private void withFeedback(double[] weight, Row row) {
        double[] targets = new double[inputs];
        for (int i = 0; i < inputs; i++) {
            targets[i] = weight[order[i]];
        }
        for (int i = 0; i < inputs; i++) {
            int channel = order[i];
            row.codes[channel] = row.code(targets[i]);
            double error = weight[channel] - row.codes[channel] * row.scale;
            double[] own = feedback[i];
            for (int j = i + 1; j < inputs; j++) {
                targets[j] += error * own[j];
            }
        }
    }

    /** {@code H (w - wq)}. */
    private double[] gradient(double[] weight, Row row) {
        double[] gradient = new double[inputs];
        for (int c = 0; c < inputs; c++) {
            double error = weight[c] - row.codes[c] * row.scale;
            double[] own = hessian[c];
            for (int j = 0; j < inputs; j++) {
                gradient[j] += error * own[j];
            }
        }
        return gradient;
    }

    private void descend(Row row, double[] gradient) {
        for (int channel : order) {
            double[] own = hessian[channel];
            int code = row.code(row.codes[channel] * row.scale + gradient[channel] / own[channel]);
            if (code != row.codes[channel]) {
                double change = (code - row.codes[channel]) * row.scale;
                row.codes[channel] = code;
                for (int j = 0; j < inputs; j++) {
                    gradient[j] -= change * own[j];
                }
            }
        }
    }

    private double error(double[] weight, Row row, double[] gradient) {
        double sum = 0;
        for (int c = 0; c < inputs; c++) {
            sum += (weight[c] - row.codes[c] * row.scale) * gradient[c];
        }
        return sum;
    }

    /**
     * With the channels in order, {@code H = A A^T} with A upper triangular; an error of channel i adds {@code A[i][j] / A[j][j]} of
     * itself to the target of channel j.
     */
    private double[][] feedback() {
        // Cholesky of the channels in reverse order: there A^T is an ordinary lower factor, of which rows are kept transposed
        int n = inputs;
        double[][] rows = new double[n][];
        for (int i = 0; i < n; i++) {
            rows[i] = new double[n];
            for (int j = i; j < n; j++) {
                rows[i][j] = hessian[order[n - 1 - i]][order[n - 1 - j]];
            }
        }
        for (int i = 0; i < n; i++) {
            double[] own = rows[i];
            double pivot = Math.sqrt(own[i]);
            for (int j = i; j < n; j++) {
                own[j] /= pivot;
            }
            IntStream later = IntStream.range(i + 1, n);
            (n - i > 256 ? later.parallel() : later).forEach(k -> {
                double[] row = rows[k];
                double factor = own[k];
                for (int j = k; j < row.length; j++) {
                    row[j] -= factor * own[j];
                }
            });
        }
        // own[i][j] in reverse order is A[n-1-j][n-1-i]
        double[][] result = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = i + 1; j < n; j++) {
                result[i][j] = rows[n - 1 - j][n - 1 - i] / rows[n - 1 - j][n - 1 - j];
            }
        }
        return result;
    }
}
