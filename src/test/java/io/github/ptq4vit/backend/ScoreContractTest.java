package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.ScoreProblem.Left;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Scores against brute force in float64. Two bounds: what rounding may do at worst (see {@link PlainScorer}), always; and
 * 1e-6, where enough elements are added for roundings to cancel and the error of quantisation is well above rounding.
 */
@EveryBackend
class ScoreContractTest {
    private static final double RELATIVE = 1e-6;
    private static final int ENOUGH_ELEMENTS = 2000;

    /** The same for every backend, and not quickly found. */
    private static final Map<Search, PlainScorer.Score> TRUTHS = new HashMap<>();

    private final Backend backend;

    private record Search(ScoreProblem problem, Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates) {
        PlainScorer.Score truth() {
            try (PlainBackend plain = new PlainBackend(); Side side = Side.of(plain)) {
                MatmulProblem on = problem.on(side);
                return new PlainScorer(on, searched, fixed, candidates).score(0, on.units());
            }
        }
    }

    ScoreContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    @ParameterizedTest(name = "{0} x {1} x {2}")
    @CsvSource({"1, 1, 1", "1, 17, 6", "13, 17, 6", "4, 65, 13", "197, 65, 17", "65, 197, 197", "1, 768, 12", "200, 1537, 12",
        "700, 33, 576", "637, 321, 381"})
    void aLinearLayerOfAnySize(int n, int k, int m) {
        agrees(ScoreProblem.linear(n, k, m), 6, 3);
        agrees(ScoreProblem.linear(n, k, m).with(Left.FLOAT), 6, 3);
        agrees(ScoreProblem.linear(n, k, m).with(Left.GELU_TWIN), 6, 3);
    }

    @ParameterizedTest
    @EnumSource
    void everyDistanceWithAndWithoutWeightsAndBias(Distance distance) {
        for (int form = 0; form < 4; form++) {
            boolean weighted = (form & 1) != 0;
            boolean biased = (form & 2) != 0;
            for (Left left : new Left[] {Left.UNIFORM, Left.FLOAT, Left.GELU_TWIN}) {
                agrees(ScoreProblem.linear(65, 33, 24).with(left).with(distance).with(weighted, biased), 6, 4);
            }
        }
        for (Left left : new Left[] {Left.UNIFORM, Left.SOFTMAX_TWIN, Left.SOFTMAX_NEAREST, Left.SOFTMAX_LEVELS}) {
            agrees(ScoreProblem.attention(2, 3, 33, 33, 17).with(left).with(distance).with(distance == Distance.SQUARED, false), 6, 4);
        }
    }

    @ParameterizedTest
    @EnumSource
    void columnGroupsHaveScalesAndLossesOfTheirOwn(Distance distance) {
        for (int groups : new int[] {3, 24}) {
            // 24 groups of a column each are multiplied together
            if (groups == 24 && (distance == Distance.COSINE || distance == Distance.PEARSON)) {
                continue; // of single numbers: 0 or undefined
            }
            for (Left left : new Left[] {Left.UNIFORM, Left.FLOAT, Left.GELU_TWIN}) {
                agrees(ScoreProblem.linear(65, 33, 24).with(left).with(distance).columns(groups), 6, 4);
            }
        }
    }

    @ParameterizedTest(name = "{0} images, {1} heads, {2} x {3} x {4}")
    @CsvSource({"1, 3, 1, 17, 13", "2, 3, 13, 17, 6", "3, 2, 50, 65, 50", "2, 2, 197, 64, 197", "2, 2, 197, 197, 65",
        "4, 1, 13, 17, 6", "1, 2, 270, 9, 601"})
    void attentionOfAnySize(int images, int heads, int n, int k, int m) {
        for (Left left : new Left[] {Left.UNIFORM, Left.SOFTMAX_TWIN}) {
            agrees(ScoreProblem.attention(images, heads, n, k, m).with(left), 6, 3);
            agrees(ScoreProblem.attention(images, heads, n, k, m).with(left).plainRight(), 6, 3);
        }
        agrees(ScoreProblem.attention(images, heads, n, k, m).with(Left.SOFTMAX_NEAREST).plainRight(), 6, 3);
    }

    @Test
    void aSingleProductMayHaveItsRightOperandInEitherOrder() {
        agrees(ScoreProblem.linear(13, 17, 6).plainRight(), 6, 3);
        agrees(ScoreProblem.linear(13, 17, 6).plainRight().with(Left.SOFTMAX_TWIN), 6, 3);
    }

    @ParameterizedTest(name = "{0} bits")
    @CsvSource({"2", "3", "4", "5", "7", "8"})
    void everyBitWidth(int bits) {
        agrees(ScoreProblem.linear(65, 197, 48), bits, 4);
        agrees(ScoreProblem.linear(65, 197, 48).with(Left.GELU_TWIN), bits, 4);
        agrees(ScoreProblem.attention(2, 3, 50, 50, 17).with(Left.SOFTMAX_TWIN), bits, 4);
        agrees(ScoreProblem.attention(2, 3, 50, 50, 17).with(Left.SOFTMAX_LEVELS), bits, 4);
        agrees(ScoreProblem.attention(2, 3, 50, 17, 50).with(Distance.COSINE), bits, 4);
    }

    @Test
    void eitherOperandMayHaveItsCodesLookedUp() {
        ScoreProblem problem = ScoreProblem.linear(65, 33, 24);
        List<CodeGrid> levels = CodesContractTest.levels();
        check(problem, Operand.LEFT, List.of(levels.get(3)), List.of(List.of(levels.get(0)), List.of(ScoreProblem.levels(5, 6))));
        check(problem, Operand.RIGHT, List.of(levels.get(0)), List.of(List.of(levels.get(1)), List.of(levels.get(2)),
                List.of(levels.get(3)), problem.rightGrids(6, 0, 1)));
    }

    @Test
    void rowScalesAreNotScored() {
        ScoreProblem problem = ScoreProblem.attention(1, 2, 5, 7, 6);
        try (Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            List<CodeGrid> left = problem.leftGrids(6, 0, 1);
            List<CodeGrid> right = problem.rightGrids(6, 0, 1);
            List<CodeGrid> sum = List.of(left.get(0).with(RowScale.SUM));
            assertThrows(IllegalArgumentException.class, () -> backend.score(on, Operand.LEFT, right, List.of(left, sum), 0, 1));
            assertThrows(IllegalArgumentException.class, () -> backend.score(on, Operand.RIGHT, sum, List.of(right), 0, 1));
        }
    }

    @Test
    void extremeCodesDoNotOverflow() {
        // steps so small that every code is clamped
        ScoreProblem problem = ScoreProblem.linear(13, 1537, 6);
        List<List<CodeGrid>> candidates = List.of(List.of(CodesContractTest.uniform(128, 1e-6f)));
        check(problem, Operand.LEFT, List.of(CodesContractTest.uniform(128, 1e-6f)), candidates);
        check(problem, Operand.RIGHT, List.of(CodesContractTest.uniform(128, 1e-6f)), candidates);
    }

    @Test
    void manyCandidatesAreScoredAsFewAre() {
        ScoreProblem problem = ScoreProblem.linear(50, 33, 24);
        try (Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            for (Operand searched : Operand.values()) {
                List<List<CodeGrid>> candidates = IntStream.range(0, 37).mapToObj(i -> grids(problem, searched, 6, i, 1)).toList();
                List<CodeGrid> fixed = grids(problem, other(searched), 6, 2, 1);
                double[][] together = backend.score(on, searched, fixed, candidates, 0, on.units());
                for (int i = 0; i < candidates.size(); i++) {
                    double alone = backend.score(on, searched, fixed, candidates.subList(i, i + 1), 0, on.units())[0][0];
                    assertEquals(alone, together[i][0], RELATIVE * alone);
                }
                assertEquals(0, backend.score(on, searched, fixed, List.of(), 0, on.units()).length);
            }
        }
    }

    @Test
    void candidatesThatRepeatTheOneBeforeHaveItsLoss() {
        for (ScoreProblem problem : List.of(ScoreProblem.linear(50, 33, 24).columns(3),
                ScoreProblem.attention(2, 3, 17, 33, 24), ScoreProblem.linear(50, 33, 24).columns(24),
                ScoreProblem.linear(50, 33, 24).columns(24).with(Left.FLOAT),
                ScoreProblem.linear(50, 33, 24).columns(3).with(Distance.COSINE))) {
            try (Side side = Side.of(backend)) {
                MatmulProblem on = problem.on(side);
                int groups = problem.groups();
                List<List<CodeGrid>> all = IntStream.range(0, 4).mapToObj(i -> grids(problem, Operand.RIGHT, 6, i, groups)).toList();
                List<CodeGrid> fixed = grids(problem, Operand.LEFT, 6, 2, 1);
                double[][] losses = backend.score(on, Operand.RIGHT, fixed, all, 0, on.units());
                // group 0 keeps to its first candidate, the others go on
                List<List<CodeGrid>> mixed = new ArrayList<>();
                for (List<CodeGrid> row : all) {
                    List<CodeGrid> copy = new ArrayList<>(row);
                    copy.set(0, all.get(0).get(0));
                    mixed.add(copy);
                }
                mixed.add(mixed.get(3));
                double[][] found = backend.score(on, Operand.RIGHT, fixed, mixed, 0, on.units());
                for (int candidate = 0; candidate < 5; candidate++) {
                    for (int group = 0; group < groups; group++) {
                        assertEquals(losses[group == 0 ? 0 : Math.min(3, candidate)][group], found[candidate][group]);
                    }
                }
            }
        }
    }

    @Test
    void lossesOfDisjointUnitsAddUp() {
        addUp(ScoreProblem.linear(300, 33, 24), new int[] {0, 1, 14, 211, 300});
        addUp(ScoreProblem.linear(300, 33, 24).columns(3).with(Distance.PEARSON), new int[] {0, 150, 300});
        addUp(ScoreProblem.attention(5, 3, 17, 33, 24).with(Left.SOFTMAX_TWIN), new int[] {0, 1, 4, 5});
        addUp(ScoreProblem.attention(5, 1, 17, 33, 24).with(Distance.ABSOLUTE), new int[] {0, 2, 5});
    }

    private void addUp(ScoreProblem problem, int[] cuts) {
        try (Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            for (Operand searched : Operand.values()) {
                int groups = searched == Operand.RIGHT ? problem.groups() : 1;
                List<List<CodeGrid>> candidates = IntStream.range(0, 3).mapToObj(i -> grids(problem, searched, 6, i, groups)).toList();
                List<CodeGrid> fixed = grids(problem, other(searched), 6, 2, 1);
                double[][] sums = new double[3][groups];
                for (int i = 1; i < cuts.length; i++) {
                    double[][] part = backend.score(on, searched, fixed, candidates, cuts[i - 1], cuts[i]);
                    for (int c = 0; c < 3; c++) {
                        for (int g = 0; g < groups; g++) {
                            sums[c][g] += part[c][g];
                        }
                    }
                }
                double[][] total = backend.score(on, searched, fixed, candidates, 0, on.units());
                for (int c = 0; c < 3; c++) {
                    for (int g = 0; g < groups; g++) {
                        assertEquals(total[c][g], sums[c][g], RELATIVE * total[c][g]);
                    }
                }
            }
        }
    }

    @Test
    void unitsOutsideTheProblemAreRefused() {
        try (Side side = Side.of(backend)) {
            ScoreProblem problem = ScoreProblem.linear(13, 17, 6);
            MatmulProblem on = problem.on(side);
            List<CodeGrid> fixed = problem.rightGrids(6, 0, 1);
            List<List<CodeGrid>> candidates = List.of(problem.leftGrids(6, 0, 1));
            for (int[] units : new int[][] {{-1, 3}, {0, 14}, {4, 4}, {5, 2}}) {
                assertThrows(IllegalArgumentException.class,
                        () -> backend.score(on, Operand.LEFT, fixed, candidates, units[0], units[1]));
            }
        }
    }

    @Test
    void anUnchangedOutputHasNoLoss() {
        // numbers that are codes already
        try (Side side = Side.of(backend)) {
            View l = side.filled(3, 1, 13, 17);
            View r = side.filled(2, 1, 6, 17).transpose();
            View o = side.filled(3 * 2 * 17, 1, 13, 6);
            CodeGrid one = CodesContractTest.uniform(128, 1);
            for (Distance distance : new Distance[] {Distance.SQUARED, Distance.ABSOLUTE}) {
                MatmulProblem problem = new MatmulProblem(l, r, o, java.util.Optional.empty(), java.util.Optional.empty(), 1, 1,
                        distance);
                assertArrayEquals(new double[] {0}, backend.score(problem, Operand.RIGHT, List.of(one), List.of(List.of(one)), 0, 13)[0]);
            }
        }
    }

    /** Searches both operands, with one grid for all and one a group, the other operand's likewise. */
    private void agrees(ScoreProblem problem, int bits, int candidates) {
        for (Operand searched : Operand.values()) {
            if (searched == Operand.LEFT && problem.left() == Left.FLOAT) {
                continue;
            }
            int most = searched == Operand.RIGHT ? problem.groups() : problem.heads();
            int mostFixed = searched == Operand.LEFT ? problem.groups() : problem.heads();
            for (int groups = 1; groups <= most; groups += Math.max(1, most - 1)) {
                int own = groups;
                List<List<CodeGrid>> grids = IntStream.range(0, candidates).mapToObj(i -> grids(problem, searched, bits, i, own)).toList();
                check(problem, searched, grids(problem, other(searched), bits, 2, groups == 1 ? mostFixed : 1), grids);
            }
        }
    }

    private void check(ScoreProblem problem, Operand searched, List<CodeGrid> fixed, List<List<CodeGrid>> candidates) {
        PlainScorer.Score truth = TRUTHS.computeIfAbsent(new Search(problem, searched, fixed, candidates), Search::truth);
        double[][] losses;
        try (Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            losses = backend.score(on, searched, fixed, candidates, 0, on.units());
        }
        int groups = candidates.get(0).size();
        long elements = (long) problem.images() * problem.heads() * problem.n() * problem.m() / groups;
        for (int candidate = 0; candidate < losses.length; candidate++) {
            assertEquals(groups, losses[candidate].length);
            for (int group = 0; group < groups; group++) {
                double expected = truth.losses()[candidate][group];
                double error = Math.abs(losses[candidate][group] - expected);
                double slack = truth.slack()[candidate][group];
                // float32 sums of k products are sqrt(k) times less exact than products of codes, which take 8 roundings
                double relative = RELATIVE * (problem.left() == Left.FLOAT ? Math.max(1, Math.sqrt(problem.k()) / 8) : 1);
                double bound = elements >= ENOUGH_ELEMENTS ? Math.min(slack, relative * expected) : slack;
                assertTrue(error <= bound, String.format(Locale.ROOT,
                        "%s, %s searched, candidate %d, group %d: %.9g instead of %.9g, off by %.2g relative, rounding explains %.2g",
                        problem, searched, candidate, group, losses[candidate][group], expected, error / expected, slack / expected));
            }
        }
    }

    private static List<CodeGrid> grids(ScoreProblem problem, Operand operand, int bits, int candidate, int groups) {
        return new ArrayList<>(operand == Operand.LEFT ? problem.leftGrids(bits, candidate, groups)
                : problem.rightGrids(bits, candidate, groups));
    }

    private static Operand other(Operand operand) {
        return operand == Operand.LEFT ? Operand.RIGHT : Operand.LEFT;
    }
}
