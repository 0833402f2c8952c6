package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.CodeTable;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/** Every kernel that passes over memory once, at ViT-B/16's shapes: what is counted on the emulated GPU and measured on a real one. */
final class KernelCases {
    /** Patch tokens and class token of 128 images. */
    private static final int ROWS = 25216;
    private static final int PARTS = 16;
    private static final int FEW_ROWS = 16;
    private static final int COLUMNS = 768;
    private static final int TOKENS = 197;
    private static final int HEADS = 12;
    /** Length of the rows that need more than one stage of a Hadamard transform. */
    private static final int LONG_BLOCK = 4096;

    private final Backend backend;
    private final Scope scope;
    private final Extent extent;
    private final int parts;
    private final Consumer<Case> use;

    /** How much of the shapes is computed: all, as much as an emulated device can count, or hardly anything. */
    enum Extent {
        WHOLE, PART, SMALL
    }

    /**
     * An operation and one of the kernels that it launches.
     *
     * @param factor how many times this work the shape is
     * @param memoryBytes that the shape's operands and results take, each counted once
     * @param operations of the shape, multiplications and additions; 0 where others bound it
     */
    record Case(String entry, String shape, double factor, double memoryBytes, double operations, Runnable run) {
    }

    private KernelCases(Backend backend, Scope scope, Extent extent, Consumer<Case> use) {
        this.backend = backend;
        this.scope = scope;
        this.extent = extent;
        this.parts = extent == Extent.PART ? PARTS : 1;
        this.use = use;
    }

    /** Calls {@code use} with each case, which may be run until it returns. */
    static void each(Backend backend, Extent extent, Consumer<Case> use) {
        try (Scope scope = backend.scope()) {
            KernelCases cases = new KernelCases(backend, scope, extent, use);
            cases.elements();
            cases.codes();
            cases.copies();
        }
    }

    private void elements() {
        int rows = rows();
        View x = repeated(1, rows, COLUMNS);
        View y = repeated(2, rows, COLUMNS);
        View row = uploaded(RandomNumbers.normal(3, 1, COLUMNS));
        use("gelu_forward_f32", 8, x, () -> backend.gelu(x, y));
        use("gelu_backward_f32", 12, x, () -> backend.geluBackward(x, y, y));
        use("add_repeated_f32", 8, x, () -> backend.add(x, row, y));
        use("multiply_repeated_f32", 8, x, () -> backend.multiply(x, row, y));
        use("add_square_f32", 12, x, () -> backend.addSquare(x, 0.5f, y));
        use("magnitude_f32", 8, x, () -> backend.magnitudes(x, y));
        use("layernorm_forward_f32", 8, x, () -> backend.layerNorm(x, row, row, 1e-6f, y));
        use("layernorm_backward_f32", 12, x, () -> backend.layerNormBackward(x, row, 1e-6f, y, y));
        View scores = repeated(4, rows * 4, TOKENS);
        View gradient = repeated(5, rows * 4, TOKENS);
        use("softmax_forward_f32", 8, scores, () -> backend.softmax(scores, 0.125f, scores));
        use("softmax_backward_f32", 12, scores, () -> backend.softmaxBackward(scores, gradient, 0.125f, gradient));
        use("hadamard_blocks_f32", 8, x, () -> backend.hadamard(x, 64, y));
        View longRows = repeated(6, rows / 4, LONG_BLOCK);
        // two of them
        use("hadamard_stage_f32", 16, longRows, () -> backend.hadamard(longRows, LONG_BLOCK, longRows));
        use("reduce_maxima_f32", 4, x, () -> backend.maxima(x.reshape(1, 1, rows * COLUMNS), true));
        use("reduce_rows_f64", 4, x, () -> backend.rowSums(x));
        use("reduce_squared_errors_f64", 12, x, () -> backend.squaredErrors(x.reshape(1, 1, rows * COLUMNS),
                y.reshape(1, 1, rows * COLUMNS), Optional.of(x.reshape(1, 1, rows * COLUMNS))));
    }

    private void codes() {
        int rows = rows();
        View x = repeated(1, rows, COLUMNS);
        View y = scope.floats(rows, COLUMNS);
        CodeGrid uniform = CodeGrid.of(CodeRange.unlimited(0.03f, -128, 127));
        CodeGrid levels = levels();
        View codes = View.over(scope.buffer(DataType.INT8, x.elements()), rows, COLUMNS);
        View turned = View.over(scope.buffer(DataType.INT8, x.elements()), COLUMNS, rows);
        use("quantize_dense_s8", 5, x, () -> backend.quantize(x, uniform, 0, codes));
        use("decode_dense_f32", 8, x, () -> backend.decoded(x, levels, y));
        use("decode_rows_f32", 8, x, () -> backend.decoded(x, levels.with(RowScale.SUM), y));
        CodeGrid ranges = CodeGrid.of(CodeRange.unlimited(1f / 15, -8, 7)).with(RowScale.RANGE);
        use("decode_ranges_f32", 8, x, () -> backend.decoded(x, ranges, y));
        use("copy_strided_s8", 2, x, () -> backend.copy(codes.transpose(), turned));
        use("copy_widened_s8", 5, x, () -> backend.copy(codes, y));
        // outputs so few that the input's codes are what takes memory
        Backend.Linear weights = backend.linear(scope, new byte[COLUMNS * 8], new float[8], COLUMNS, Optional.empty());
        View few = scope.floats(rows, 8);
        use("range_rows_f32", 4, x, () -> backend.linear(x, ranges, weights, few));
        RowTransform transform = new RowTransform(Optional.of(uploaded(RandomNumbers.normal(3, 1, COLUMNS)).reshape(COLUMNS)),
                Optional.of(uploaded(RandomNumbers.normal(4, 1, COLUMNS)).reshape(COLUMNS)), 64);
        use("quantize_transformed_s8", 5, x, () -> backend.linear(x, transform, levels, weights, few));
        use("quantize_matrix_s8", 5, x, () -> backend.linear(x, levels, weights, few));
    }

    private void copies() {
        int rows = rows();
        View x = repeated(1, rows, COLUMNS);
        View y = scope.floats(rows, COLUMNS);
        View odd = scope.floats(rows, COLUMNS - 1);
        use("copy_strided_f32", 8, odd, () -> backend.copy(x.slice(1, 1, COLUMNS), odd));
        use("copy_strided_f32x4", 8, x, () -> backend.copy(x.split(1, HEADS).permute(1, 0, 2), y.reshape(HEADS, rows, COLUMNS / HEADS)));
        use("copy_transposed_f32", 8, x, () -> backend.copy(x.transpose(), y.reshape(COLUMNS, rows)));
        int[] backwards = IntStream.range(0, rows).map(i -> rows - 1 - i).toArray();
        use("gather_rows_f32", 8, x, () -> backend.gather(x, backwards, y));
    }

    private int rows() {
        return extent == Extent.SMALL ? FEW_ROWS : ROWS / parts;
    }

    private void use(String entry, int bytesAnElement, View x, Runnable run) {
        use.accept(new Case(entry, x.size(0) * parts + " x " + x.size(1), parts, (double) bytesAnElement * x.elements() * parts, 0, run));
    }

    /** 16 levels, as logarithmic quantisers of 4 bits have them. */
    static CodeGrid levels() {
        float[] bounds = new float[15];
        byte[] codes = new byte[16];
        for (int level = 0; level < 16; level++) {
            codes[level] = (byte) (level * level / 2);
            if (level > 0) {
                bounds[level - 1] = CodeTable.truncated(0.01f * level * level);
            }
        }
        return CodeGrid.of(new CodeTable(bounds, codes), 0.02f);
    }

    /** Equal rows, repeated on the device: drawing all of them would take the host long. */
    private View repeated(long seed, int rows, int columns) {
        View x = scope.floats(rows, columns);
        backend.zero(x);
        backend.add(x, uploaded(RandomNumbers.normal(seed, 1, columns)), x);
        return x;
    }

    private View uploaded(Tensor numbers) {
        View view = scope.floats(numbers.shape().toArray());
        backend.upload(numbers, view);
        return view;
    }
}
