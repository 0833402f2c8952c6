package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.ScoreProblem.Left;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What the contract does not show of scoring on CUDA: large tiles, long sums, cut work, and that nothing changes a byte. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuiltOrReplaced")
class CudaScoreTest {
    private static final int BITS = 6;
    private static final long MIB = 1 << 20;

    private Optional<EmulatedGpu> gpu;

    @BeforeEach
    void restore() {
        gpu = EmulatedGpu.isReplaced() ? Optional.empty() : Optional.of(new EmulatedGpu());
    }

    @AfterEach
    void close() {
        gpu.ifPresent(EmulatedGpu::close);
    }

    /** A real device is as it is. */
    private void set(String name, long value) {
        gpu.ifPresent(emulated -> emulated.set(name, value));
    }

    /** With one multiprocessor, as an emulated device may have, there are tiles enough for the large ones wherever these are not mostly empty. */
    @ParameterizedTest(name = "{0} x {1} x {2}, multiprocessors {3}, checked {4}")
    @CsvSource({"128, 4096, 100, 1, 0", "251, 257, 127, 1, 1", "509, 263, 251, 1, 0", "1, 4096, 1, 8, 1", "67, 4095, 3, 8, 0",
        "64, 64, 64, 8, 1", "65, 63, 129, 8, 1", "3, 1, 131, 8, 1"})
    void lossesAreThoseOfTheDefinition(int n, int k, int m, int multiprocessors, int checked) {
        set("multiprocessors", multiprocessors);
        set("guard", checked);
        set("reversed", checked);
        try (Backend backend = open()) {
            for (Left left : new Left[] {Left.UNIFORM, Left.GELU_TWIN, Left.SOFTMAX_NEAREST}) {
                for (Operand searched : Operand.values()) {
                    // three candidates: a pair and a single one
                    agree(backend, ScoreProblem.linear(n, k, m).with(left), searched, 3);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void columnGroupsThatDoNotFillTilesHaveLossesOfTheirOwn(Distance distance) {
        set("multiprocessors", 1);
        try (Backend backend = open()) {
            for (Left left : new Left[] {Left.UNIFORM, Left.SOFTMAX_TWIN, Left.FLOAT}) {
                agree(backend, ScoreProblem.linear(130, 260, 3 * 71).with(left).with(distance).columns(3), Operand.RIGHT, 3);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void neitherMemoryNorOrderNorCompanyChangesABit(Distance distance) {
        for (ScoreProblem plain : List.of(ScoreProblem.linear(150, 70, 39).columns(3),
                ScoreProblem.linear(70, 40, 39).with(Left.FLOAT),
                ScoreProblem.attention(3, 2, 70, 33, 20).with(Left.SOFTMAX_TWIN), ScoreProblem.linear(300, 260, 130),
                ScoreProblem.linear(70, 40, 65).with(Left.GELU_TWIN), ScoreProblem.linear(70, 40, 65).with(Left.SOFTMAX_TWIN))) {
            ScoreProblem problem = plain.with(distance);
            for (Operand searched : problem.left() == Left.FLOAT ? new Operand[] {Operand.RIGHT} : Operand.values()) {
                double[][] losses = losses(problem, searched, 21);
                assertArrayEquals(losses, losses(problem, searched, 21), "again");
                set("reversed", 1);
                set("deferred", 1);
                assertArrayEquals(losses, losses(problem, searched, 21), "last threads first, copies late");
                close();
                // of 3 MiB a few candidates fit at a time
                set("memory_bytes", 3 * MIB);
                assertArrayEquals(losses, losses(problem, searched, 21), "little memory");
                close();
                for (int fewer : new int[] {1, 4}) {
                    assertArrayEquals(Arrays.copyOf(losses, fewer), losses(problem, searched, fewer), "fewer candidates");
                }
            }
        }
    }

    /** Unless the device is real, which counts nothing. */
    @Test
    void candidatesThatRepeatTheOneBeforeAreNotMultiplied() {
        ScoreProblem problem = ScoreProblem.linear(64, 64, 96).columns(3);
        gpu.ifPresent(emulated -> {
            emulated.set("ptx", 1).set("counted", 1);
            try (Backend backend = open(); Side side = Side.of(backend)) {
                MatmulProblem on = problem.on(side);
                List<List<CodeGrid>> all = grids(problem, Operand.RIGHT, 4, 3);
                long different = products(emulated, backend, problem, on, all);
                assertTrue(different > 0);
                assertEquals(different / 2, products(emulated, backend, problem, on, List.of(all.get(0), all.get(0), all.get(1), all.get(1))));
            }
        });
    }

    private static long products(EmulatedGpu gpu, Backend backend, ScoreProblem problem, MatmulProblem on, List<List<CodeGrid>> candidates) {
        gpu.forgetCounts();
        backend.score(on, Operand.RIGHT, problem.leftGrids(BITS, 2, 1), candidates, 0, on.units());
        return gpu.counts("score_tile64_s8").products();
    }

    @Test
    void codesThatAreKeptBetweenCallsAreThoseOfTheGridsAskedFor() {
        ScoreProblem problem = ScoreProblem.linear(70, 33, 24).with(Left.GELU_TWIN).columns(3);
        try (Backend backend = open(); Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            Backend.Scoring scoring = backend.scoring(side.scope, on);
            for (int fixed : new int[] {0, 1, 1, 0, 2}) {
                List<CodeGrid> left = problem.leftGrids(BITS, fixed, 1);
                List<CodeGrid> right = problem.rightGrids(BITS, fixed, fixed == 2 ? 1 : 3);
                for (int[] units : new int[][] {{0, 5}, {5, 70}}) {
                    List<List<CodeGrid>> rights = grids(problem, Operand.RIGHT, 3, 3);
                    assertArrayEquals(backend.score(on, Operand.RIGHT, left, rights, units[0], units[1]),
                            scoring.score(Operand.RIGHT, left, CandidateGrids.of(rights), units[0], units[1]));
                    List<List<CodeGrid>> lefts = grids(problem, Operand.LEFT, 3, 1);
                    assertArrayEquals(backend.score(on, Operand.LEFT, right, lefts, units[0], units[1]),
                            scoring.score(Operand.LEFT, right, CandidateGrids.of(lefts), units[0], units[1]));
                }
            }
        }
    }

    @Test
    void gridsThatDoNotFitAndScopesThatAreClosedAreRefused() {
        ScoreProblem problem = ScoreProblem.linear(5, 7, 6).columns(3).with(Left.GELU_TWIN);
        try (Backend backend = open(); Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            List<CodeGrid> twin = problem.leftGrids(BITS, 0, 1);
            List<CodeGrid> uniform = problem.rightGrids(BITS, 0, 1);
            assertThrows(IllegalArgumentException.class, () -> backend.score(on, Operand.RIGHT, twin, List.of(twin), 0, 5));
            assertThrows(IllegalArgumentException.class, () -> backend.score(on, Operand.LEFT, twin, List.of(twin), 0, 5));
            assertThrows(IllegalArgumentException.class, () -> backend.score(on, Operand.LEFT, List.of(), List.of(twin), 0, 5));
            assertThrows(IllegalArgumentException.class,
                    () -> backend.score(on, Operand.RIGHT, twin, List.of(problem.rightGrids(BITS, 0, 2)), 0, 5));
            assertThrows(IllegalArgumentException.class,
                    () -> backend.score(on, Operand.RIGHT, twin, List.of(uniform, problem.rightGrids(BITS, 0, 3)), 0, 5));
            assertThrows(IllegalArgumentException.class,
                    () -> backend.score(on, Operand.LEFT, uniform, List.of(problem.leftGrids(BITS, 0, 3)), 0, 5));
            Scope closed = backend.scope();
            Backend.Scoring scoring = backend.scoring(closed, on);
            closed.close();
            assertThrows(BackendException.class, () -> scoring.score(Operand.RIGHT, twin, CandidateGrids.of(List.of(uniform)), 0, 5));
        }
    }

    private static Backend open() {
        return new CudaBackend(CudaSettings.standard());
    }

    private static double[][] losses(ScoreProblem problem, Operand searched, int candidates) {
        try (Backend backend = open(); Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            Operand other = searched == Operand.LEFT ? Operand.RIGHT : Operand.LEFT;
            int groups = searched == Operand.RIGHT || problem.heads() > 1 ? problem.groups() : 1;
            List<CodeGrid> fixed = problem.left() == Left.FLOAT ? List.of() : grids(problem, other, 3, 1).get(2);
            return backend.score(on, searched, fixed, grids(problem, searched, candidates, groups), 0, on.units());
        }
    }

    private static void agree(Backend backend, ScoreProblem problem, Operand searched, int candidates) {
        Operand other = searched == Operand.LEFT ? Operand.RIGHT : Operand.LEFT;
        List<CodeGrid> fixed = problem.left() == Left.FLOAT ? List.of() : grids(problem, other, 3, 1).get(2);
        int groups = searched == Operand.RIGHT ? problem.groups() : 1;
        List<List<CodeGrid>> grids = grids(problem, searched, candidates, groups);
        PlainScorer.Score truth;
        try (PlainBackend plain = new PlainBackend(); Side side = Side.of(plain)) {
            MatmulProblem on = problem.on(side);
            truth = new PlainScorer(on, searched, fixed, grids).score(0, on.units());
        }
        try (Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            double[][] losses = backend.score(on, searched, fixed, grids, 0, on.units());
            for (int candidate = 0; candidate < candidates; candidate++) {
                for (int group = 0; group < groups; group++) {
                    double expected = truth.losses()[candidate][group];
                    double error = Math.abs(losses[candidate][group] - expected);
                    assertTrue(error <= truth.slack()[candidate][group], problem + ", " + searched + " searched, candidate "
                            + candidate + ", group " + group + ": " + losses[candidate][group] + " instead of " + expected);
                }
            }
        }
    }

    private static List<List<CodeGrid>> grids(ScoreProblem problem, Operand operand, int candidates, int groups) {
        return IntStream.range(0, candidates).mapToObj(i -> operand == Operand.LEFT ? problem.leftGrids(BITS, i, groups)
                : problem.rightGrids(BITS, i, groups)).toList();
    }
}
