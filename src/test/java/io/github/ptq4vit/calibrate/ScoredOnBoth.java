package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.MatmulProblem;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * A CPU backend for an exhaustive calibration, each of whose searches is scored by a GPU as well, on the very same numbers. Between
 * calibrations on activations of their own there is no such comparison: theirs differ in the last bits, some of them by a code.
 */
final class ScoredOnBoth implements AutoCloseable {
    private final Backend cpu;
    private final Backend gpu;
    private Optional<Scope> copies = Optional.empty();
    private int choices;
    private int others;
    private double worstChoice;
    private double worstLoss;

    /** Both stay the caller's. */
    ScoredOnBoth(Backend cpu, Backend gpu) {
        this.cpu = cpu;
        this.gpu = gpu;
    }

    /** The backend to calibrate on: the CPU, whose choices count. */
    Backend backend() {
        return (Backend) Proxy.newProxyInstance(Backend.class.getClassLoader(), new Class<?>[] {Backend.class},
                (proxy, method, arguments) -> {
                    try {
                        Object result = method.invoke(cpu, arguments);
                        return method.getName().equals("scoring")
                                ? new Both((Backend.Scoring) result, (MatmulProblem) arguments[1]) : result;
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    /** Choices so far: one for each group of a search. */
    int choices() {
        return choices;
    }

    /** How many of them the GPU's losses would have made otherwise. */
    int others() {
        return others;
    }

    /** By how much the CPU's loss of such a choice is larger than the best, relatively. */
    double worstChoice() {
        return worstChoice;
    }

    /** By how much losses differ, as a share of what those of two float32 computations may, see {@link SearchAgreementTest}. */
    double worstLoss() {
        return worstLoss;
    }

    /** For the test's output. */
    @Override
    public String toString() {
        return String.format(Locale.ROOT, "of %d choices %d differ, by a relative loss of at most %.2g; losses differ by at most"
                + " %.2f of the bound", choices, others, worstChoice, worstLoss);
    }

    @Override
    public void close() {
        copies.ifPresent(Scope::close);
        copies = Optional.empty();
    }

    /** A problem on both. A search is scored part by part, from unit 0 to the last one. */
    private final class Both implements Backend.Scoring {
        private final Backend.Scoring onCpu;
        private final Backend.Scoring onGpu;
        private final int units;
        private double[][] cpuSums;
        private double[][] gpuSums;

        Both(Backend.Scoring onCpu, MatmulProblem problem) {
            this.onCpu = onCpu;
            this.units = problem.units();
            close();
            Scope scope = gpu.scope();
            copies = Optional.of(scope);
            View right = problem.right();
            View copied = right.isDense() ? copy(right, scope) : copy(right.transpose(), scope).transpose();
            this.onGpu = gpu.scoring(scope, new MatmulProblem(copy(problem.left(), scope), copied, copy(problem.output(), scope),
                    problem.weight().map(w -> copy(w, scope)), problem.bias().map(b -> copy(b, scope)), problem.heads(),
                    problem.columnGroups(), problem.distance(), problem.order()));
        }

        private View copy(View view, Scope scope) {
            View to = scope.floats(view.sizes());
            gpu.upload(cpu.download(view), to);
            return to;
        }

        @Override
        public double[][] score(Operand searched, List<CodeGrid> fixed, CandidateGrids candidates, int from, int to) {
            double[][] losses = onCpu.score(searched, fixed, candidates, from, to);
            cpuSums = from == 0 ? copied(losses) : added(cpuSums, losses);
            double[][] other = onGpu.score(searched, fixed, candidates, from, to);
            gpuSums = from == 0 ? copied(other) : added(gpuSums, other);
            if (to == units) {
                compare();
            }
            return losses;
        }

        private static double[][] copied(double[][] losses) {
            double[][] copy = new double[losses.length][];
            for (int c = 0; c < losses.length; c++) {
                copy[c] = losses[c].clone();
            }
            return copy;
        }

        private static double[][] added(double[][] sums, double[][] more) {
            for (int c = 0; c < sums.length; c++) {
                for (int g = 0; g < sums[c].length; g++) {
                    sums[c][g] += more[c][g];
                }
            }
            return sums;
        }

        private void compare() {
            int groups = cpuSums[0].length;
            int[] truth = ScaleSearch.firstBest(cpuSums, groups);
            int[] found = ScaleSearch.firstBest(gpuSums, groups);
            for (int g = 0; g < groups; g++) {
                choices++;
                if (found[g] != truth[g]) {
                    others++;
                    worstChoice = Math.max(worstChoice, cpuSums[found[g]][g] / cpuSums[truth[g]][g] - 1);
                }
                int group = g;
                double largest = Arrays.stream(cpuSums).mapToDouble(losses -> losses[group]).max().orElseThrow();
                for (int c = 0; c < cpuSums.length; c++) {
                    double bound = Math.max(SearchAgreementTest.HESSIAN * cpuSums[c][g], SearchAgreementTest.HESSIAN_FLOOR * largest);
                    double off = Math.abs(gpuSums[c][g] - cpuSums[c][g]);
                    worstLoss = Math.max(worstLoss, off == 0 ? 0 : off / bound);
                }
            }
        }
    }
}
