package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Distance;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.benchmarks.KernelCases.Case;
import io.github.ptq4vit.benchmarks.KernelCases.Extent;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/** Every kernel that multiplies, or serves one that does, at ViT-B/16's shapes with 32 images and 100 candidates. */
final class ProductCases {
    private static final int ROWS = 6304;
    private static final int COLUMNS = 768;
    private static final int OUTPUTS = 2304;
    private static final int TOKENS = 197;
    private static final int HEAD = 64;
    private static final int BATCH = 384;
    private static final int CANDIDATES = 100;

    private final CudaBackend backend;
    private final Extent extent;
    private final Consumer<Case> use;

    private ProductCases(CudaBackend backend, Extent extent, Consumer<Case> use) {
        this.backend = backend;
        this.extent = extent;
        this.use = use;
    }

    /** Calls {@code use} with each case, which may be run until it returns. */
    static void each(CudaBackend backend, Extent extent, Consumer<Case> use) {
        ProductCases cases = new ProductCases(backend, extent, use);
        cases.candidates();
        cases.similarities();
        cases.products();
    }

    private void candidates() {
        double operations = 2.0 * CANDIDATES * ROWS * COLUMNS * OUTPUTS;
        scored("512x768x256", "66x40x70", ROWS + "x" + COLUMNS + "x" + OUTPUTS, 1, Distance.SQUARED, false, score -> {
            score.add("score_tile128_s8", tiles(ROWS, 128) * tiles(OUTPUTS, 128) / 8, 0, operations);
            score.add("score_quantize_s8", OUTPUTS / 256.0, (4.0 + CANDIDATES) * OUTPUTS * COLUMNS, 0);
            score.add("score_sum_f64", tiles(ROWS, 128) * tiles(OUTPUTS, 128) / 8, 0, 0);
        });
        scored("4x197x64x197", "4x17x16x17", BATCH + "x197x64x197", BATCH / 12, Distance.SQUARED, false,
                score -> score.add("score_tile64_s8", BATCH / 4.0, 0, 2.0 * CANDIDATES * BATCH * TOKENS * HEAD * TOKENS));
        scored("128x768x128", "66x40x70", ROWS + "x" + COLUMNS + "x" + COLUMNS, 1, Distance.SQUARED, true,
                score -> score.add("score_tile64_f32", tiles(ROWS, 64) * tiles(COLUMNS, 64) / 4, 0,
                        2.0 * CANDIDATES * ROWS * COLUMNS * COLUMNS));
    }

    private void similarities() {
        double factor = tiles(ROWS, 64) * tiles(COLUMNS, 64) / 4;
        double operations = 2.0 * CANDIDATES * ROWS * COLUMNS * COLUMNS;
        String shape = ROWS + "x" + COLUMNS + "x" + COLUMNS;
        scored("128x768x128", "66x40x70", shape, 1, Distance.COSINE, false, score -> {
            score.add("score_rows64_s8", factor, 0, operations);
            score.add("score_similarity_f64", factor, 0, 0);
        });
        scored("128x768x128", "66x40x70", shape, 1, Distance.COSINE, true, score -> score.add("score_rows64_f32", factor, 0, operations));
    }

    private void products() {
        boolean small = extent == Extent.SMALL;
        CodeGrid uniform = CodeGrid.of(CodeRange.unlimited(0.03f, -128, 127));
        int rows = small ? 130 : extent == Extent.PART ? 512 : ROWS;
        int inputs = small ? 40 : COLUMNS;
        int outputs = small ? 70 : OUTPUTS;
        try (Scope scope = backend.scope()) {
            View x = numbers(scope, 1, rows, inputs);
            View y = scope.floats(rows, outputs);
            Backend.Linear weights = backend.linear(scope, new byte[outputs * inputs], new float[outputs], inputs, Optional.empty());
            use.accept(new Case("matmul_tile128_s8", small ? "130 x 40 x 70" : ROWS + " x " + COLUMNS + " x " + OUTPUTS,
                    extent == Extent.PART ? tiles(ROWS, 128) / 4 : 1, (double) ROWS * COLUMNS + (double) COLUMNS * OUTPUTS
                            + (double) Float.BYTES * ROWS * OUTPUTS, 2.0 * ROWS * COLUMNS * OUTPUTS,
                    () -> backend.linear(x, uniform, weights, y)));
        }
        int images = extent == Extent.WHOLE ? BATCH / 12 : 1;
        int heads = extent == Extent.WHOLE ? 12 : 4;
        try (Scope scope = backend.scope()) {
            View probabilities = scope.floats(images, heads, TOKENS, TOKENS);
            backend.zero(probabilities);
            backend.softmax(probabilities, 1, probabilities);
            View values = numbers(scope, 2, images, heads, TOKENS, HEAD);
            View y = scope.floats(images, heads, TOKENS, HEAD);
            use.accept(new Case("matmul_tile64_s8", BATCH + " of 197 x 197 x 64", extent == Extent.WHOLE ? 1 : BATCH / 4.0,
                    (double) BATCH * 256 * (TOKENS + HEAD) + (double) Float.BYTES * BATCH * TOKENS * HEAD,
                    2.0 * BATCH * TOKENS * TOKENS * HEAD, () -> backend.matmul(probabilities, List.of(KernelCases.levels()
                            .with(RowScale.SUM)), values, List.of(uniform), y)));
        }
        floats(small, inputs, outputs);
    }

    /** Our own kernel, which serves where cuBLAS is not there or results are to be reproducible. */
    private void floats(boolean small, int inputs, int outputs) {
        int rows = small ? 66 : extent == Extent.PART ? 256 : ROWS;
        int columns = extent == Extent.PART ? 128 : outputs;
        try (Scope scope = backend.scope(); Backend own = backend.reproducible()) {
            View a = numbers(scope, 1, rows, inputs);
            View b = numbers(scope, 2, columns, inputs).transpose();
            View c = scope.floats(rows, columns);
            use.accept(new Case("matmul_tiled_f32", small ? "66 x 40 x 70" : ROWS + " x " + COLUMNS + " x " + OUTPUTS,
                    extent == Extent.PART ? tiles(ROWS, 64) * tiles(OUTPUTS, 64) / 8 : 1, Float.BYTES * ((double) ROWS * COLUMNS
                            + (double) COLUMNS * OUTPUTS + (double) ROWS * OUTPUTS), 2.0 * ROWS * COLUMNS * OUTPUTS,
                    () -> own.matmul(a, b, c)));
        }
    }

    /** Kernels of one scoring. */
    private interface Scored {
        void add(String entry, double factor, double memoryBytes, double operations);
    }

    private void scored(String part, String small, String whole, int images, Distance distance, boolean floatLeft, Consumer<Scored> kernels) {
        String shape = switch (extent) {
            case WHOLE -> whole;
            case PART -> part;
            case SMALL -> small;
        };
        try (Scope scope = backend.scope()) {
            ScoringCase scoring = ScoringCase.of(backend, scope, shape, extent == Extent.WHOLE ? images : 1, Operand.RIGHT, distance,
                    floatLeft, 1);
            String words = (extent == Extent.SMALL ? small : whole).replace("x", " x ") + ", " + CANDIDATES + " candidates";
            kernels.accept((entry, factor, memoryBytes, operations) -> use.accept(new Case(entry, words,
                    extent == Extent.PART ? factor : 1, memoryBytes, operations, scoring::score)));
        }
    }

    private static double tiles(int size, int side) {
        return (size + side - 1) / side;
    }

    private View numbers(Scope scope, long seed, int... sizes) {
        View view = scope.floats(sizes);
        backend.upload(RandomNumbers.normal(seed, 1, sizes), view);
        return view;
    }
}
