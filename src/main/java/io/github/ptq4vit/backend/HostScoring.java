package io.github.ptq4vit.backend;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Scores by the definition on the host, in float64: what {@link Backend} does by default. */
final class HostScoring implements Backend.Scoring {
    /** As in the usual definition of cosine similarity. */
    private static final double SMALLEST_NORM = 1e-8;

    private final Backend device;
    private final MatmulProblem problem;

    HostScoring(Backend device, MatmulProblem problem) {
        this.device = device;
        this.problem = problem;
    }

    @Override
    public double[][] score(Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, int from, int to) {
        Checks.score(problem, searched, fixed, candidates, from, to);
        double[][] losses = new double[candidates.count()][candidates.groups()];
        float[] bias = problem.bias().map(b -> HostOperations.numbers(device, b)).orElse(new float[problem.m()]);
        List<MatmulProblem.Unit> units = problem.batch() == 1 ? List.of(new MatmulProblem.Unit(0, from, to))
                : IntStream.range(from, to).mapToObj(problem::unit).toList();
        for (MatmulProblem.Unit own : units) {
            for (int head = 0; head < problem.heads(); head++) {
                Rows rows = new Rows(own.image() * problem.heads() + head, head, own.from(), own.to(), bias);
                for (int candidate = 0; candidate < losses.length; candidate++) {
                    if (!candidates.repeats(candidate)) {
                        List<CodeGrid> grids = candidates.grids(candidate);
                        boolean left = searched == Operand.LEFT;
                        rows.addLosses(left ? grids : fixed, left ? fixed : grids, losses[candidate]);
                    }
                }
            }
        }
        for (int candidate = 1; candidate < losses.length; candidate++) {
            if (candidates.repeats(candidate)) {
                losses[candidate] = losses[candidate - 1].clone();
            }
        }
        return losses;
    }

    /** Some rows of one product of the batch. */
    private final class Rows {
        private final int head;
        private final int count;
        private final float[] left;
        /** {@code [m, k]}. */
        private final float[] right;
        private final float[] output;
        private final float[] weight;
        private final float[] bias;

        Rows(int batch, int head, int from, int to, float[] bias) {
            this.head = head;
            this.count = to - from;
            this.bias = bias;
            this.left = HostOperations.numbers(device, problem.left().at(batch).slice(0, from, to));
            this.right = HostOperations.numbers(device, problem.right().at(batch).transpose());
            this.output = HostOperations.numbers(device, problem.output().at(batch).slice(0, from, to));
            this.weight = problem.weight().map(w -> HostOperations.numbers(device, w.at(batch).slice(0, from, to))).orElse(null);
        }

        /** Adds the rows' losses to those of the groups. */
        void addLosses(List<CodeGrid> leftGrids, List<CodeGrid> rightGrids, double[] losses) {
            double[] estimate = new double[output.length];
            int m = problem.m();
            CodeGrid grid = leftGrids.isEmpty() ? null : leftGrids.get(leftGrids.size() == 1 ? 0 : head);
            double[] columns = new double[right.length];
            for (int i = 0; i < columns.length; i++) {
                CodeGrid own = rightGrids.get(group(rightGrids.size(), i / problem.k()));
                columns[i] = own.code(0, right[i]) * (double) own.ranges().get(0).step();
            }
            double[] rows = new double[left.length];
            for (int i = 0; i < rows.length; i++) {
                for (int range = 0; grid != null && range < grid.ranges().size(); range++) {
                    rows[i] += grid.code(range, left[i]) * (double) grid.ranges().get(range).step();
                }
                rows[i] = grid == null ? left[i] : rows[i];
            }
            for (int i = 0; i < estimate.length; i++) {
                double sum = bias[i % m];
                for (int j = 0; j < problem.k(); j++) {
                    sum += rows[i / m * problem.k() + j] * columns[i % m * problem.k() + j];
                }
                estimate[i] = sum;
            }
            int parts = problem.heads() > 1 ? 1 : losses.length;
            for (int part = 0; part < count * parts; part++) {
                int first = part * (m / parts);
                losses[group(losses.length, first % m)] += loss(estimate, first, first + m / parts);
            }
        }

        /** Which of so many groups a column of these rows belongs to. */
        private int group(int groups, int column) {
            return groups == 1 ? 0 : problem.heads() > 1 ? head : column / (problem.m() / groups);
        }

        /** Of neighbours in a row. */
        private double loss(double[] estimate, int from, int to) {
            double sum = 0;
            switch (problem.distance()) {
                case SQUARED -> {
                    for (int i = from; i < to; i++) {
                        double error = output[i] - estimate[i];
                        sum += (weight == null ? 1 : weight[i]) * error * error;
                    }
                }
                case ABSOLUTE -> {
                    for (int i = from; i < to; i++) {
                        sum += Math.abs(output[i] - estimate[i]);
                    }
                }
                case COSINE, PEARSON -> {
                    double[] truth = new double[to - from];
                    Arrays.setAll(truth, i -> output[from + i]);
                    double[] own = Arrays.copyOfRange(estimate, from, to);
                    if (problem.distance() == Distance.PEARSON) {
                        centre(truth);
                        centre(own);
                    }
                    double norms = Math.max(SMALLEST_NORM, Math.sqrt(dot(truth, truth))) * Math.max(SMALLEST_NORM, Math.sqrt(dot(own, own)));
                    sum = Math.max(0, 1 - dot(truth, own) / norms);
                }
            }
            return sum;
        }
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
