package io.github.ptq4vit.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Codes are equal on every backend to the last bit, on all boundaries and beside them. */
@EveryBackend
class CodesContractTest {
    /** GELU's smallest value. */
    private static final float GELU_MINIMUM = -0.16997124254703522f;

    private final Backend backend;

    CodesContractTest(BackendUnderTest subject) {
        this.backend = subject.open().get();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    static Stream<CodeGrid> grids() {
        List<CodeGrid> grids = new ArrayList<>();
        for (int bits = 2; bits <= 8; bits++) {
            int q = 1 << bits - 1;
            for (float step : new float[] {0.25f, 0.0371f, 1f / 3, 1.7e-5f, 93.3f}) {
                grids.add(uniform(q, step));
            }
            for (float step : new float[] {0.0625f, 0.0191f}) {
                grids.add(geluTwin(q, -GELU_MINIMUM / q, step, false));
                grids.add(geluTwin(q, -GELU_MINIMUM / q, step, true));
                grids.add(geluTwin(q, step / 4, step, false));
            }
            for (int m : new int[] {0, 1, 5, 12, 19}) {
                grids.add(softmaxTwin(q, m, false));
                grids.add(softmaxTwin(q, m, true));
            }
        }
        for (float step : new float[] {Float.MIN_VALUE, 1e-41f, Float.MIN_NORMAL, 1e-30f, 1e30f, Float.MAX_VALUE}) {
            grids.add(uniform(128, step));
        }
        grids.addAll(levels());
        // unsigned and lopsided ranges
        grids.add(CodeGrid.of(CodeRange.unlimited(0.01f, 0, 127)));
        grids.add(CodeGrid.of(CodeRange.unlimited(0.01f, 3, 5)));
        grids.add(CodeGrid.of(CodeRange.unlimited(0.01f, -7, -2)));
        return grids.stream();
    }

    /** Grids whose codes are looked up: logarithmic, lopsided, a single bound, and the largest table. */
    static List<CodeGrid> levels() {
        float[] bounds = new float[15];
        byte[] coarse = new byte[16];
        byte[] fine = new byte[16];
        for (int i = 0; i < 15; i++) {
            bounds[i] = CodeTable.truncated((float) Math.pow(2, -7.7 + i * 0.53));
            int code = (int) Math.round(Math.pow(2, -7.5 + i * 0.53) * 127);
            (code < 8 ? fine : coarse)[i + 1] = (byte) (code < 8 ? Math.round(Math.pow(2, -3.5 + i * 0.53) * 127) : Math.min(code, 127));
        }
        float[] many = new float[255];
        byte[] codes = new byte[256];
        for (int i = 0; i < 256; i++) {
            codes[i] = (byte) (i - 128);
            if (i < 255) {
                many[i] = CodeTable.truncated((i - 127.5f) / 64);
            }
        }
        return List.of(CodeGrid.of(new CodeTable(bounds, coarse, fine), 1f / 127, 1f / 127 / 16),
                CodeGrid.of(new CodeTable(new float[] {-1.5f, -0.25f, 0.5f}, new byte[] {-7, -2, 1, 5}), 0.3f),
                CodeGrid.of(new CodeTable(new float[] {0}, new byte[] {-1, 1}), 0.5f),
                CodeGrid.of(new CodeTable(many, codes), 1f / 64));
    }

    /** One range of a grid by itself. */
    static CodeGrid range(CodeGrid grid, int range) {
        if (grid.table().isEmpty()) {
            return CodeGrid.of(grid.ranges().get(range));
        }
        CodeTable table = grid.table().get();
        float[] bounds = new float[table.levels() - 1];
        byte[] codes = new byte[table.levels()];
        for (int level = 0; level < codes.length; level++) {
            codes[level] = (byte) table.code(range, level);
            if (level < bounds.length) {
                bounds[level] = table.bound(level);
            }
        }
        return CodeGrid.of(new CodeTable(bounds, codes), grid.ranges().get(range).step());
    }

    static CodeGrid uniform(int q, float step) {
        return CodeGrid.of(CodeRange.unlimited(step, -q, q - 1));
    }

    static CodeGrid geluTwin(int q, float negative, float positive, boolean nearest) {
        return new CodeGrid(List.of(new CodeRange(negative, -q, 0, Float.NEGATIVE_INFINITY, 0),
                new CodeRange(positive, 0, q - 1, 0, Float.POSITIVE_INFINITY)), nearest);
    }

    static CodeGrid softmaxTwin(int q, int m, boolean nearest) {
        float threshold = (float) Math.scalb(1.0, -m);
        return new CodeGrid(List.of(new CodeRange(threshold / (q - 1), 0, q - 1, Float.NEGATIVE_INFINITY, threshold),
                new CodeRange(1f / (q - 1), 0, q - 1, threshold, Float.POSITIVE_INFINITY)), nearest);
    }

    @ParameterizedTest
    @MethodSource("grids")
    void codesAreEqualOnAllBoundaries(CodeGrid grid) {
        float[] numbers = boundaries(grid);
        for (int range = 0; range < grid.ranges().size(); range++) {
            double[] codes = quantized(numbers, grid, range);
            for (int i = 0; i < numbers.length; i++) {
                assertEquals(grid.code(range, numbers[i]), codes[i], "range " + range + ", number " + numbers[i]);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("grids")
    void codesAreDecodedToCodeTimesStep(CodeGrid grid) {
        float[] numbers = boundaries(grid);
        float step = grid.ranges().get(0).step();
        if (step < 1e30f) {
            agrees(grid, numbers, 0);
        }
        // rows hold no infinity, nor values that are infinite together
        if (step > 1e-30f && step < 1e30f) {
            float[] row = new float[64];
            Random random = new Random(7);
            for (int i = 0; i < row.length; i++) {
                row[i] = (float) (Math.abs(random.nextGaussian()) * step * grid.ranges().get(0).largestCode());
            }
            double sum = 0;
            double magnitudes = 0;
            for (float x : row) {
                sum += grid.value(x);
                magnitudes += Math.abs(grid.value(x));
            }
            agrees(grid.with(RowScale.SUM), row, sum == 0 ? 0 : row.length * Close.U * magnitudes / Math.abs(sum));
            if (grid.ranges().size() == 1 || grid.table().isPresent()) {
                agrees(grid.with(RowScale.RANGE), row, 0);
            }
        }
    }

    private void agrees(CodeGrid grid, float[] numbers, double error) {
        double[] truth = Side.truth(side -> decoded(side, numbers, grid));
        Close.assertWithin(Side.run(backend, side -> decoded(side, numbers, grid)), truth,
                i -> (4 * Close.U + error) * Math.abs(truth[i]) + Float.MIN_VALUE, grid.toString());
    }

    private static View decoded(Side side, float[] numbers, CodeGrid grid) {
        View x = side.upload(Tensor.of(Shape.of(1, numbers.length), numbers));
        View y = side.scope.floats(1, numbers.length);
        side.backend.decoded(x, grid, y);
        return y;
    }

    @Test
    void codesAreEqualAtAnyLengthAndOffset() {
        CodeGrid grid = softmaxTwin(32, 3, false);
        float[] numbers = new float[4098];
        Random random = new Random(1);
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = random.nextFloat() * random.nextFloat() * 1.1f;
        }
        try (Side side = Side.of(backend)) {
            View all = side.upload(Tensor.of(Shape.of(numbers.length), numbers));
            for (int length : new int[] {1, 4, 6, 13, 15, 17, 63, 65, 197, 4090}) {
                View codes = View.over(side.scope.buffer(DataType.INT8, length + 8), length + 8);
                for (int range = 0; range < 2; range++) {
                    backend.quantize(all.slice(0, 5, 5 + length), grid, range, codes.slice(0, 3, 3 + length));
                    // the next call overwrites the codes around it only if it writes too far
                    double[] read = codesOf(side, codes.slice(0, 3, 3 + length), length);
                    for (int i = 0; i < length; i++) {
                        assertEquals(grid.code(range, numbers[5 + i]), read[i]);
                    }
                }
            }
        }
    }

    /** Products with the identity show the codes that products make for themselves. */
    @ParameterizedTest
    @MethodSource("grids")
    void productsUseTheSameCodes(CodeGrid grid) {
        float[] boundaries = boundaries(grid);
        int k = 13;
        int n = (boundaries.length + k - 1) / k;
        float[] numbers = new float[n * k];
        System.arraycopy(boundaries, 0, numbers, 0, boundaries.length);
        CodeGrid one = CodeGrid.of(CodeRange.unlimited(1, -1, 1));
        double[] values = Side.run(backend, side -> {
            View x = side.upload(Tensor.of(Shape.of(1, 1, n, k), numbers));
            View identity = side.upload(identity(k));
            View y = side.scope.floats(1, 1, n, k);
            side.backend.matmul(x, List.of(grid), identity.reshape(1, 1, k, k), List.of(one), y);
            return y;
        });
        for (int i = 0; i < values.length; i++) {
            double value = 0;
            for (int range = 0; range < grid.ranges().size(); range++) {
                value += grid.code(range, numbers[i]) * (double) grid.ranges().get(range).step();
            }
            if (Math.abs(value) <= Float.MAX_VALUE) {
                assertEquals(value, values[i], Math.ulp((float) value), "number " + numbers[i]);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("grids")
    void theDefinitionItselfDividesAndRoundsCorrectly(CodeGrid grid) {
        CodeRange range = grid.ranges().get(0);
        if (grid.ranges().size() == 1 && grid.table().isEmpty() && range.step() >= Float.MIN_NORMAL && range.step() < 1e20f) {
            for (float x : boundaries(grid)) {
                if (Math.abs(x) < 1e20f) {
                    float quotient = new BigDecimal(x).divide(new BigDecimal(range.step()), MathContext.DECIMAL128).floatValue();
                    double expected = Math.max(range.min(), Math.min(range.max(), Math.rint(quotient)));
                    assertEquals(expected + 0.0, grid.code(0, x), "number " + x);
                }
            }
        }
    }

    private double[] quantized(float[] numbers, CodeGrid grid, int range) {
        try (Side side = Side.of(backend)) {
            View codes = View.over(side.scope.buffer(DataType.INT8, numbers.length), numbers.length);
            backend.quantize(side.upload(Tensor.of(Shape.of(numbers.length), numbers)), grid, range, codes);
            return codesOf(side, codes, numbers.length);
        }
    }

    /** Reads codes through the one operation that widens them. */
    private double[] codesOf(Side side, View codes, int count) {
        View numbers = side.scope.floats(count);
        backend.copy(codes, numbers);
        return side.read(numbers);
    }

    private static Tensor identity(int size) {
        float[] numbers = new float[size * size];
        for (int i = 0; i < size; i++) {
            numbers[i * (size + 1)] = 1;
        }
        return Tensor.of(Shape.of(size, size), numbers);
    }

    /** Ties, code points, limits and their neighbours, and numbers far from the grid. */
    static float[] boundaries(CodeGrid grid) {
        List<Float> numbers = new ArrayList<>(List.of(0f, -0.0f, 1f, -1f, GELU_MINIMUM, Float.MIN_VALUE, -Float.MIN_VALUE,
                1e-40f, -1e-40f, Float.MIN_NORMAL, 1e-20f, 1e10f, -1e10f, 1e38f, -1e38f, Float.MAX_VALUE, -Float.MAX_VALUE,
                Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY));
        for (CodeRange range : grid.ranges()) {
            IntStream.rangeClosed(2 * range.min() - 4, 2 * range.max() + 4).mapToObj(half -> half / 2.0 * range.step())
                    .forEach(x -> numbers.add(x.floatValue()));
            for (float limit : new float[] {range.from(), range.to()}) {
                numbers.add(limit);
            }
        }
        grid.table().ifPresent(table -> IntStream.range(0, table.levels() - 1).forEach(level -> {
            numbers.add(table.bound(level));
            numbers.add(Float.intBitsToFloat(Float.floatToRawIntBits(table.bound(level)) + 0xffff));
        }));
        Random random = new Random(1);
        float[] all = new float[4 * numbers.size()];
        for (int i = 0; i < numbers.size(); i++) {
            float number = numbers.get(i);
            all[4 * i] = number;
            all[4 * i + 1] = Math.nextUp(number);
            all[4 * i + 2] = Math.nextDown(number);
            all[4 * i + 3] = (float) (random.nextGaussian() * grid.ranges().get(0).step() * grid.ranges().get(0).largestCode());
        }
        return all;
    }
}
