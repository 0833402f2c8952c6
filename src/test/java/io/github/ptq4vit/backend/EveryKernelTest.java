package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.ScoreProblem.Left;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import io.github.ptq4vit.backend.cuda.LaunchedKernels;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every kernel once, at odd sizes: none is left out, on any device; all give what is right, and on the emulated device the same
 * bits from the PTX as from the sources.
 */
class EveryKernelTest {
    private static final double RELATIVE = 2e-5;
    private static final int BITS = 6;

    static Stream<BackendUnderTest> gpus() {
        return BackendUnderTest.gpus();
    }

    @ParameterizedTest(name = "{0}", allowZeroInvocations = true)
    @MethodSource("gpus")
    void everyKernelIsLaunchedAndGivesWhatIsRight(BackendUnderTest gpu) {
        try (LaunchedKernels launched = LaunchedKernels.noted(); CudaBackend backend = (CudaBackend) gpu.open().get()) {
            operations().forEach((name, operation) -> {
                double[] truth = Side.truth(operation);
                double[] found = Side.run(name.equals("product without cuBLAS") ? backend.reproducible() : backend, operation);
                assertEquals(truth.length, found.length, name);
                for (int i = 0; i < truth.length; i++) {
                    assertTrue(Math.abs(found[i] - truth[i]) <= RELATIVE * (1 + Math.abs(truth[i])), name + ": " + found[i]
                            + " instead of " + truth[i] + " at " + i);
                }
            });
            problems().forEach(problem -> assertLosses(backend, problem));
            assertEquals(Set.of(), launched.missing(backend), "never launched");
        }
    }

    static Stream<Integer> targets() {
        return BackendUnderTest.emulatedTargets();
    }

    /** But for the gradient of GELU, whose approximations a device chooses. */
    @ParameterizedTest(name = "compute capability {0}", allowZeroInvocations = true)
    @MethodSource("targets")
    void ptxAndSourcesGiveTheSameBits(int capability) {
        Map<String, double[]> ptx = results(capability, true);
        Map<String, double[]> sources = results(capability, false);
        assertEquals(ptx.keySet(), sources.keySet());
        ptx.forEach((name, numbers) -> {
            for (int i = 0; i < numbers.length && !name.equals("gelu backward"); i++) {
                assertEquals(sources.get(name)[i], numbers[i], name + " at " + i);
            }
        });
    }

    /** But for those that only arrays of more than 2^32 elements come to; the emulator's own tests try them. */
    @ParameterizedTest(name = "compute capability {0}", allowZeroInvocations = true)
    @MethodSource("targets")
    void everyInstructionOfThePtxIsExecuted(int capability) {
        EmulatedGpu gpu = new EmulatedGpu();
        try (CudaBackend backend = BackendUnderTest.emulated(capability, true)) {
            gpu.set("counted", 1);
            run(backend);
            run(backend.reproducible());
            assertEquals("div.s64 div.u64 rem.s64 setp.le.u64", gpu.neverExecuted(capability).strip());
        } finally {
            gpu.close();
        }
    }

    /** The inference path. Launches that shared memory serves with conflicts, or that touch more memory than they need, are slow. */
    @ParameterizedTest(name = "compute capability {0}", allowZeroInvocations = true)
    @MethodSource("targets")
    void whatBoundsAKernelIsNotWasted(int capability) {
        EmulatedGpu gpu = new EmulatedGpu();
        try (CudaBackend backend = BackendUnderTest.emulated(capability, true)) {
            gpu.set("counted", 1);
            gpu.forgetCounts();
            // rows that fill vectors and tiles: what is at the edges is another matter
            Side.run(backend, side -> {
                View x = side.normal(1, 256, 192);
                View y = side.scope.floats(256, 192);
                side.backend.gelu(x, y);
                side.backend.geluBackward(x, y, y);
                side.backend.add(x, y, y);
                side.backend.multiply(x, side.normal(2, 192), y);
                side.backend.addSquare(x, 0.5f, y);
                side.backend.magnitudes(x, y);
                side.backend.layerNorm(x, side.normal(2, 192), side.normal(3, 192), 1e-6f, y);
                side.backend.softmax(x, 1, y);
                side.backend.quantize(x, CodesContractTest.uniform(32, 0.1f), 0,
                        View.over(side.scope.buffer(DataType.INT8, 256 * 192), 256, 192));
                side.backend.linear(x, CodesContractTest.uniform(32, 0.1f), side.backend.linear(side.scope, codes(192 * 256),
                        steps(256), 192, side.bias(true, 256)), side.scope.floats(256, 256));
                side.backend.linear(x, new RowTransform(Optional.of(side.normal(2, 192)), Optional.of(side.normal(3, 192)), 64),
                        CodesContractTest.uniform(32, 0.1f), side.backend.linear(side.scope, codes(192 * 256), steps(256), 192,
                                side.bias(true, 256)), side.scope.floats(256, 256));
                return y;
            });
            losses(backend, ScoreProblem.linear(640, 320, 384), Operand.RIGHT);
            losses(backend, ScoreProblem.attention(2, 3, 64, 64, 64), Operand.RIGHT);
            for (String entry : List.of("gelu_forward_f32", "gelu_backward_f32", "add_repeated_f32", "multiply_repeated_f32",
                    "add_square_f32", "magnitude_f32", "layernorm_forward_f32", "softmax_forward_f32", "quantize_dense_s8",
                    "quantize_matrix_s8", "quantize_transformed_s8", "matmul_tile128_s8", "score_tile128_s8", "score_tile64_s8", "score_quantize_s8")) {
                EmulatedGpu.Counts counts = gpu.counts(entry);
                assertTrue(counts.launches() > 0, entry);
                assertEquals(0, counts.localRequests(), entry + ": local memory");
                // outputs and weights to compare with are read once for all candidates, by halves of sectors
                if (!entry.startsWith("score_tile")) {
                    assertEquals(counts.leastSectors(), counts.globalSectors(), entry + ": sectors of global memory");
                }
            }
            for (String entry : List.of("matmul_tile128_s8", "score_tile128_s8", "score_tile64_s8")) {
                assertEquals(0, gpu.counts(entry).bankConflicts(), entry + ": bank conflicts");
            }
        } finally {
            gpu.close();
        }
    }

    private static void run(Backend backend) {
        operations().values().forEach(operation -> Side.run(backend, operation));
        problems().forEach(problem -> searched(problem).forEach(searched -> losses(backend, problem, searched)));
    }

    private static Map<String, double[]> results(int capability, boolean ptx) {
        Map<String, double[]> results = new LinkedHashMap<>();
        try (CudaBackend backend = BackendUnderTest.emulated(capability, ptx)) {
            operations().forEach((name, operation) -> results.put(name, Side.run(backend, operation)));
            for (ScoreProblem problem : problems()) {
                for (Operand searched : searched(problem)) {
                    double[][] losses = losses(backend, problem, searched);
                    results.put(problem + ", " + searched, Stream.of(losses).flatMapToDouble(Arrays::stream).toArray());
                }
            }
        }
        return results;
    }

    private static Map<String, Function<Side, View>> operations() {
        Map<String, Function<Side, View>> all = new LinkedHashMap<>();
        for (int columns : new int[] {33, 197, 577, 1025}) {
            all.put("layer norm of " + columns, side -> result(side, y -> side.backend.layerNorm(side.normal(1, 13, columns),
                    side.normal(2, columns), side.normal(3, columns), 1e-6f, y), 13, columns));
            all.put("softmax of " + columns, side -> result(side, y -> side.backend.softmax(side.normal(1, 13, columns), 0.5f, y), 13,
                    columns));
        }
        all.put("layer norm backward", side -> result(side, dx -> side.backend.layerNormBackward(side.normal(1, 13, 197),
                side.normal(2, 197), 1e-6f, side.normal(3, 13, 197), dx), 13, 197));
        all.put("softmax backward", side -> result(side, dx -> {
            View y = side.normal(1, 13, 197);
            side.backend.softmax(y, 1, y);
            side.backend.softmaxBackward(y, side.normal(2, 13, 197), 0.5f, dx);
        }, 13, 197));
        all.put("gelu", side -> result(side, y -> side.backend.gelu(side.normal(1, 4099), y), 4099));
        all.put("gelu backward", side -> result(side, dx -> side.backend.geluBackward(side.normal(1, 4099), side.normal(2, 4099), dx),
                4099));
        all.put("add", side -> result(side, c -> side.backend.add(side.normal(1, 7, 31), side.normal(2, 31), c), 7, 31));
        all.put("multiply", side -> result(side, c -> side.backend.multiply(side.normal(1, 7, 31), side.normal(2, 31), c), 7, 31));
        all.put("squares", side -> {
            View sum = side.normal(1, 1003);
            side.backend.addSquare(side.normal(2, 1003), 0.3f, sum);
            return sum;
        });
        all.put("magnitudes", side -> result(side, y -> side.backend.magnitudes(side.normal(1, 1003), y), 1003));
        all.put("copy", side -> result(side, y -> side.backend.copy(side.normal(1, 5, 7, 9).slice(2, 1, 4), y), 5, 7, 3));
        all.put("copy of fours", side -> result(side, y -> side.backend.copy(side.normal(1, 5, 7, 16).slice(1, 1, 4), y), 5, 3, 16));
        all.put("transposition", side -> result(side, y -> side.backend.copy(side.normal(1, 2, 67, 45).transpose(), y), 2, 45, 67));
        all.put("gather", side -> result(side, y -> side.backend.gather(side.normal(1, 9, 17), new int[] {8, 0, 3, 3}, y), 4, 17));
        all.put("codes", side -> result(side, y -> {
            View codes = View.over(side.scope.buffer(DataType.INT8, 65 * 33), 65, 33);
            side.backend.quantize(side.normal(1, 65, 33), CodesContractTest.uniform(32, 0.05f), 0, codes);
            View copy = View.over(side.scope.buffer(DataType.INT8, 33 * 65), 33, 65);
            side.backend.copy(codes.transpose(), copy);
            side.backend.copy(copy, y);
        }, 33, 65));
        for (Left twin : new Left[] {Left.GELU_TWIN, Left.SOFTMAX_TWIN, Left.SOFTMAX_NEAREST}) {
            for (int range = 0; range < 2; range++) {
                int own = range;
                all.put("codes of " + twin + ", range " + range, side -> result(side, y -> {
                    View codes = View.over(side.scope.buffer(DataType.INT8, 1003), 1003);
                    side.backend.quantize(side.normal(1, 1003), ScoreProblem.linear(1, 1, 1).with(twin).leftGrids(BITS, 0, 1).get(0), own,
                            codes);
                    side.backend.copy(codes, y);
                }, 1003));
            }
        }
        all.put("maxima", side -> floats(side, side.backend.maxima(side.normal(1, 5, 3, 217), true)));
        all.put("sums of rows", side -> {
            double[] sums = side.backend.rowSums(side.normal(1, 11, 217));
            float[] numbers = new float[sums.length];
            IntStream.range(0, sums.length).forEach(i -> numbers[i] = (float) sums[i]);
            return floats(side, numbers);
        });
        for (int rows : new int[] {13, 131}) {
            all.put("product of codes, " + rows + " rows", side -> result(side, y -> side.backend.linear(side.normal(1, rows, 97),
                    CodesContractTest.uniform(32, 0.1f), side.backend.linear(side.scope, codes(133 * 97), steps(133), 97,
                            side.bias(true, 133)), y), rows, 133));
        }
        for (Left twin : new Left[] {Left.UNIFORM, Left.GELU_TWIN, Left.SOFTMAX_NEAREST}) {
            ScoreProblem grids = ScoreProblem.linear(1, 1, 1).with(twin);
            all.put("batched product of codes, " + twin, side -> result(side, c -> side.backend.matmul(side.normal(1, 2, 3, 33, 45),
                    grids.leftGrids(BITS, 0, 1), side.normal(2, 2, 3, 45, 29), grids.rightGrids(BITS, 0, 1), c), 2, 3, 33, 29));
            all.put("the same of columns, " + twin, side -> result(side, c -> side.backend.matmul(
                    side.normal(1, 2, 3, 45, 33).transpose(), grids.leftGrids(BITS, 0, 1), side.normal(2, 2, 3, 29, 45).transpose(),
                    grids.rightGrids(BITS, 0, 1), c), 2, 3, 33, 29));
        }
        CodeGrid levels = CodesContractTest.levels().get(0);
        CodeGrid ranges = CodesContractTest.uniform(8, 1f / 15).with(RowScale.RANGE);
        for (CodeGrid grid : List.of(CodesContractTest.uniform(32, 0.05f), levels, levels.with(RowScale.SUM), ranges)) {
            all.put("decoded, " + grid.rows() + ", " + grid.table().isPresent(), side -> result(side,
                    y -> side.backend.decoded(magnitudes(side, 13, 97), grid, y), 13, 97));
        }
        for (int block : new int[] {32, 64, 4096}) {
            all.put("Hadamard transform of " + block, side -> result(side,
                    y -> side.backend.hadamard(side.normal(1, 3, 3 * block), block, y), 3, 3 * block));
        }
        for (CodeGrid grid : List.of(CodesContractTest.uniform(32, 0.1f), levels, ranges, ScoreProblem.linear(1, 1, 1).with(Left.GELU_TWIN).leftGrids(BITS, 0, 1).get(0),
                ScoreProblem.linear(1, 1, 1).with(Left.SOFTMAX_NEAREST).leftGrids(BITS, 0, 1).get(0))) {
            for (int[] size : new int[][] {{97, 1}, {192, 64}, {192, 1}, {256, 128}}) {
                all.put("product of transformed rows, " + grid + ", " + size[0] + ", " + size[1], side -> result(side, y ->
                        side.backend.linear(side.normal(1, 65, size[0]), new RowTransform(
                                size[1] == 64 ? Optional.empty() : Optional.of(side.normal(3, size[0])),
                                size[1] == 64 ? Optional.empty() : Optional.of(side.normal(4, size[0])), size[1]), grid,
                                side.backend.linear(side.scope, codes(133 * size[0]), steps(133), size[0], side.bias(true, 133)), y), 65, 133));
            }
        }
        all.put("squared errors", side -> {
            double[] sums = side.backend.squaredErrors(side.normal(1, 5, 3, 217), side.normal(2, 5, 3, 217),
                    Optional.of(magnitudes(side, 5, 3, 217)));
            float[] numbers = new float[sums.length];
            IntStream.range(0, sums.length).forEach(i -> numbers[i] = (float) sums[i]);
            return floats(side, numbers);
        });
        all.put("squared errors without weights", side -> floats(side, new float[] {(float) side.backend.squaredErrors(
                side.normal(1, 1, 1, 1003), side.normal(2, 1, 1, 1003), Optional.empty())[0]}));
        all.put("product of levels", side -> result(side, y -> side.backend.linear(side.normal(1, 65, 97), levels,
                side.backend.linear(side.scope, codes(133 * 97), steps(133), 97, side.bias(true, 133)), y), 65, 133));
        for (int n : new int[] {33, 131}) {
            all.put("product of levels, rows divided by sums, of " + n, side -> result(side, c -> side.backend.matmul(
                    magnitudes(side, 2, 3, n, 45), List.of(levels.with(RowScale.SUM)), side.normal(2, 2, 3, 45, 29),
                    List.of(CodesContractTest.uniform(32, 0.1f)), c), 2, 3, n, 29));
        }
        for (boolean transposed : new boolean[] {true, false}) {
            all.put("product of rows and columns with ranges of their own, " + transposed, side -> result(side, c -> side.backend.matmul(
                    side.normal(1, 2, 3, 33, 45), List.of(ranges), transposed ? side.normal(2, 2, 3, 29, 45).transpose()
                            : side.normal(2, 2, 3, 45, 29), List.of(ranges), c), 2, 3, 33, 29));
        }
        all.put("product without cuBLAS", side -> result(side, c -> side.backend.matmul(side.normal(1, 3, 37, 45),
                side.normal(2, 3, 45, 29), c), 3, 37, 29));
        return all;
    }

    private static List<ScoreProblem> problems() {
        return List.of(ScoreProblem.linear(65, 33, 24), ScoreProblem.linear(637, 321, 381),
                ScoreProblem.linear(65, 33, 24).with(Left.FLOAT), ScoreProblem.linear(65, 33, 24).with(Left.GELU_TWIN),
                ScoreProblem.linear(65, 33, 24).with(Distance.COSINE),
                ScoreProblem.linear(65, 33, 24).with(Left.FLOAT).with(Distance.PEARSON),
                ScoreProblem.attention(2, 3, 33, 33, 17).with(Left.SOFTMAX_LEVELS),
                ScoreProblem.attention(2, 3, 33, 33, 17).with(Left.SOFTMAX_TWIN));
    }

    private static List<Operand> searched(ScoreProblem problem) {
        return problem.left() == Left.FLOAT ? List.of(Operand.RIGHT) : List.of(Operand.values());
    }

    private static void assertLosses(Backend backend, ScoreProblem problem) {
        for (Operand searched : searched(problem)) {
            PlainScorer.Score truth;
            try (PlainBackend plain = new PlainBackend(); Side side = Side.of(plain)) {
                MatmulProblem on = problem.on(side);
                truth = new PlainScorer(on, searched, fixed(problem, searched), grids(problem, searched)).score(0, on.units());
            }
            double[][] losses = losses(backend, problem, searched);
            for (int candidate = 0; candidate < losses.length; candidate++) {
                double expected = truth.losses()[candidate][0];
                assertTrue(Math.abs(losses[candidate][0] - expected) <= truth.slack()[candidate][0], problem + ", " + searched
                        + " searched: " + losses[candidate][0] + " instead of " + expected);
            }
        }
    }

    private static double[][] losses(Backend backend, ScoreProblem problem, Operand searched) {
        try (Side side = Side.of(backend)) {
            MatmulProblem on = problem.on(side);
            return backend.score(on, searched, fixed(problem, searched), grids(problem, searched), 0, on.units());
        }
    }

    private static List<CodeGrid> fixed(ScoreProblem problem, Operand searched) {
        return searched == Operand.LEFT ? problem.rightGrids(BITS, 2, 1) : problem.leftGrids(BITS, 2, 1);
    }

    private static List<List<CodeGrid>> grids(ScoreProblem problem, Operand searched) {
        List<List<CodeGrid>> grids = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            grids.add(searched == Operand.LEFT ? problem.leftGrids(BITS, i, 1) : problem.rightGrids(BITS, i, 1));
        }
        return grids;
    }

    private static View result(Side side, Consumer<View> write, int... sizes) {
        View y = side.scope.floats(sizes);
        write.accept(y);
        return y;
    }

    private static View magnitudes(Side side, int... sizes) {
        View y = side.normal(1, sizes);
        side.backend.magnitudes(y, y);
        return y;
    }

    private static View floats(Side side, float[] numbers) {
        return side.upload(Tensor.of(Shape.of(numbers.length), numbers));
    }

    private static byte[] codes(int count) {
        byte[] codes = new byte[count];
        IntStream.range(0, count).forEach(i -> codes[i] = (byte) (i * 37 % 63 - 31));
        return codes;
    }

    private static float[] steps(int count) {
        float[] steps = new float[count];
        IntStream.range(0, count).forEach(i -> steps[i] = 0.001f * (1 + i % 7));
        return steps;
    }
}
