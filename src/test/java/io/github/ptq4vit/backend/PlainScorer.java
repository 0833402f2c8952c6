package io.github.ptq4vit.backend;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Scores by the definition, in float64: every candidate's output in full, then its distance. Beside each loss it gives how
 * far a float32 computation of the same may be off, by rounding alone.
 */
final class PlainScorer {
    /** Half the distance of neighbouring float32 numbers, relative. */
    static final double ROUNDING = 0x1p-24;
    /**
     * Roundings of an estimate: the product of codes to float32, the product of the two steps, their product, the sum of
     * ranges or pieces.
     */
    private static final double ROUNDINGS_OF_A_TERM = 4;
    /** Losses of up to 256 rows may be added in float32; their roundings add up like a random walk, sqrt(256). */
    private static final double ROUNDINGS_OF_A_SUM = 16;

    private final MatmulProblem problem;
    private final Operand searched;
    private final List<CodeGrid> fixed;
    private final List<List<CodeGrid>> candidates;
    private final double[] left;
    private final double[] right;
    private final double[] output;
    private final Optional<double[]> weight;
    private final double[] bias;

    /**
     * @param losses as {@link Backend#score} gives them
     * @param slack by how much float32 arithmetic may change each
     */
    record Score(double[][] losses, double[][] slack) {
    }

    /** A row of estimates and the error that rounding may have given to each. */
    private record Estimate(double[] values, double[] rounding) {
    }

    PlainScorer(MatmulProblem problem, Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates) {
        this.problem = problem;
        this.searched = searched;
        this.fixed = fixed;
        this.candidates = candidates;
        this.left = PlainBuffer.read(problem.left());
        // [batch, m, k]
        this.right = PlainBuffer.read(problem.right().transpose());
        this.output = PlainBuffer.read(problem.output());
        this.weight = problem.weight().map(PlainBuffer::read);
        this.bias = problem.bias().map(PlainBuffer::read).orElse(new double[problem.m()]);
    }

    Score score(int from, int to) {
        int groups = candidates.isEmpty() ? 0 : candidates.get(0).size();
        Score score = new Score(new double[candidates.size()][groups], new double[candidates.size()][groups]);
        boolean single = problem.batch() == 1;
        int firstProduct = single ? 0 : from * problem.heads();
        int lastProduct = single ? 1 : to * problem.heads();
        for (int candidate = 0; candidate < candidates.size(); candidate++) {
            for (int batch = firstProduct; batch < lastProduct; batch++) {
                double[] codes = rightCodes(candidate, batch);
                for (int row = single ? from : 0; row < (single ? to : problem.n()); row++) {
                    Estimate estimate = estimate(candidate, batch, row, codes);
                    addRow(batch, row, estimate, score.losses[candidate], score.slack[candidate]);
                }
            }
        }
        return score;
    }

    private CodeGrid grid(Operand operand, int candidate, int batch, int column) {
        List<CodeGrid> grids = operand == searched ? candidates.get(candidate) : fixed;
        int group = problem.heads() > 1 ? batch % problem.heads() : column / (problem.m() / problem.columnGroups());
        return grids.get(grids.size() == 1 ? 0 : group);
    }

    private double[] rightCodes(int candidate, int batch) {
        int k = problem.k();
        double[] codes = new double[problem.m() * k];
        for (int column = 0; column < problem.m(); column++) {
            CodeGrid grid = grid(Operand.RIGHT, candidate, batch, column);
            for (int i = column * k; i < (column + 1) * k; i++) {
                codes[i] = grid.code(0, (float) right[batch * codes.length + i]);
            }
        }
        return codes;
    }

    private Estimate estimate(int candidate, int batch, int row, double[] rightCodes) {
        int k = problem.k();
        int start = (batch * problem.n() + row) * k;
        double[] numbers = Arrays.copyOfRange(left, start, start + k);
        double[] values = bias.clone();
        double[] rounding = new double[values.length];
        if (searched == Operand.RIGHT && fixed.isEmpty()) {
            addProduct(numbers, 1, candidate, batch, rightCodes, values, rounding, true);
        } else {
            CodeGrid grid = grid(Operand.LEFT, candidate, batch, 0);
            for (int range = 0; range < grid.ranges().size(); range++) {
                addProduct(PlainBackend.codes(numbers, grid, range), grid.ranges().get(range).step(), candidate, batch,
                        rightCodes, values, rounding, false);
            }
        }
        for (int column = 0; column < values.length; column++) {
            rounding[column] += ROUNDING * (Math.abs(bias[column]) + Math.abs(values[column]));
        }
        return new Estimate(values, rounding);
    }

    private void addProduct(double[] numbers, double step, int candidate, int batch, double[] rightCodes, double[] values,
            double[] rounding, boolean inexact) {
        for (int column = 0; column < values.length; column++) {
            int start = column * numbers.length;
            double sum = 0;
            double squares = 0;
            for (int i = 0; i < numbers.length; i++) {
                sum += numbers[i] * rightCodes[start + i];
            }
            for (int i = 0; i < numbers.length && inexact; i++) {
                squares += numbers[i] * numbers[i] * rightCodes[start + i] * rightCodes[start + i];
            }
            double scale = step * grid(Operand.RIGHT, candidate, batch, column).ranges().get(0).step();
            values[column] += scale * sum;
            rounding[column] += ROUNDING * scale * ROUNDINGS_OF_A_TERM * Math.abs(sum);
            if (inexact) {
                // partial sums are random walks as well: each of the k roundings is relative to one
                rounding[column] += ROUNDING * scale * Math.sqrt(numbers.length) * Math.sqrt(squares);
            }
        }
    }

    private void addRow(int batch, int row, Estimate estimate, double[] losses, double[] slack) {
        int m = problem.m();
        int start = (batch * problem.n() + row) * m;
        boolean heads = problem.heads() > 1;
        int parts = heads ? 1 : losses.length;
        for (int part = 0; part < parts; part++) {
            int group = losses.length == 1 ? 0 : heads ? batch % problem.heads() : part;
            int from = part * m / parts;
            int to = (part + 1) * m / parts;
            switch (problem.distance()) {
                case SQUARED, ABSOLUTE -> {
                    for (int column = from; column < to; column++) {
                        addElement(start + column, estimate.values[column], estimate.rounding[column], group, losses, slack);
                    }
                }
                case COSINE, PEARSON -> addSimilarity(Arrays.copyOfRange(output, start + from, start + to),
                        Arrays.copyOfRange(estimate.values, from, to), Arrays.copyOfRange(estimate.rounding, from, to), group,
                        losses, slack);
            }
        }
    }

    private void addElement(int at, double value, double rounding, int group, double[] losses, double[] slack) {
        double error = Math.abs(output[at] - value);
        if (problem.distance() == Distance.ABSOLUTE) {
            losses[group] += error;
            slack[group] += rounding + ROUNDING * ROUNDINGS_OF_A_SUM * error;
        } else {
            double w = weight.map(all -> all[at]).orElse(1.0);
            losses[group] += w * error * error;
            slack[group] += w * (2 * error * rounding + rounding * rounding + ROUNDING * ROUNDINGS_OF_A_SUM * error * error);
        }
    }

    private void addSimilarity(double[] truth, double[] value, double[] rounding, int group, double[] losses, double[] slack) {
        if (problem.distance() == Distance.PEARSON) {
            centre(truth);
            centre(value);
        }
        double norms = Math.max(1e-8, Math.sqrt(dot(truth, truth))) * Math.max(1e-8, Math.sqrt(dot(value, value)));
        double cosine = dot(truth, value) / norms;
        losses[group] += 1 - cosine;
        // a change of the estimate by d turns it by at most |d| / |estimate|; the cosine's slope there is the sine
        double turn = Math.sqrt(dot(rounding, rounding) / Math.max(1e-16, dot(value, value)));
        slack[group] += turn * Math.sqrt(Math.max(0, 1 - cosine * cosine)) + turn * turn
                + ROUNDING * ROUNDINGS_OF_A_SUM * (1 - cosine);
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    private static void centre(double[] numbers) {
        double mean = Arrays.stream(numbers).average().orElse(0);
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] -= mean;
        }
    }
}
