package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Counts on the emulated GPU what kernels ask of a multiprocessor, and predicts by a roofline what bounds them and how long they
 * take on {@link Card#ALL}; Markdown on standard output. Parts of the shapes are run, and counted for the whole.
 */
public final class KernelCounts {
    private static final int ROWS = 6304;
    private static final int COLUMNS = 768;
    private static final int OUTPUTS = 2304;
    private static final int CANDIDATES = 100;

    private final CudaBackend backend;
    private final Counts.Emulator emulator;
    private final Scope scope;
    private final List<String> rates = new ArrayList<>();

    private KernelCounts(CudaBackend backend, Counts.Emulator emulator, Scope scope) {
        this.backend = backend;
        this.emulator = emulator;
        this.scope = scope;
    }

    /** Runs it. */
    public static void main(String[] args) {
        try (CudaBackend first = new CudaBackend(CudaSettings.standard())) {
            if (first.isReal()) {
                System.err.println("KernelCounts counts on the emulated GPU: start it with -Dptq4vit.cuda.libraries=target/emulator");
                System.exit(1);
            }
        }
        Counts.Emulator emulator = Counts.emulator();
        emulator.emulator_set("compute_capability", 90);
        // so few that a part of a shape is cut into blocks as all of it would be on a card
        emulator.emulator_set("multiprocessors", 1);
        emulator.emulator_set("counted", 1);
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard()); Scope scope = backend.scope()) {
            new KernelCounts(backend, emulator, scope).all();
        }
    }

    private void all() {
        System.out.println("# Kernels, predicted, not measured\n\nCounts of the shipped PTX on the emulated GPU, a warp's instruction"
                + " as one; and the time by the slowest of: each kind of unit, issue, tensor cores by `mma.sync`, shared memory, L2,"
                + " memory. Latencies, the assembler's own instructions (64-bit integers take several) and what does not overlap are"
                + " not in it, so times are lower bounds.\n");
        GpuKernels.title("counts, in millions of a warp's", "| kernel | shape | integer | float32 | conversion | special | mma | load/store |"
                + " sectors (of the least) | shared wavefronts (conflicts) | local | idle lanes |"
                + Card.ALL.stream().map(card -> " " + card.name() + ": bound by | ms |").reduce("", String::concat));
        View x = numbers(1, ROWS, COLUMNS);
        View y = scope.floats(ROWS, COLUMNS);
        View row = numbers(2, COLUMNS);
        long bytes = x.elements() * Float.BYTES;
        String shape = ROWS + " x " + COLUMNS;
        row("gelu_forward_f32", shape, 1, 2 * bytes, () -> backend.gelu(x, y));
        row("gelu_backward_f32", shape, 1, 3 * bytes, () -> backend.geluBackward(x, y, y));
        row("add_repeated_f32", shape, 1, 2 * bytes, () -> backend.add(x, row, y));
        row("layernorm_forward_f32", shape, 1, 2 * bytes, () -> backend.layerNorm(x, row, row, 1e-6f, y));
        row("layernorm_backward_f32", shape, 1, 3 * bytes, () -> backend.layerNormBackward(x, row, 1e-6f, y, y));
        View scores = numbers(3, 24576, 197);
        row("softmax_forward_f32", "24576 x 197", 1, 2L * 24576 * 197 * Float.BYTES, () -> backend.softmax(scores, 0.125f, scores));
        View codes = View.over(scope.buffer(DataType.INT8, x.elements()), ROWS, COLUMNS);
        CodeGrid grid = CodeGrid.of(CodeRange.unlimited(0.03f, -128, 127));
        row("quantize_dense_s8", shape, 1, bytes + x.elements(), () -> backend.quantize(x, grid, 0, codes));
        row("copy_transposed_f32", shape, 1, 2 * bytes, () -> backend.copy(x.transpose(), y.reshape(COLUMNS, ROWS)));
        row("reduce_maxima_f32", shape, 1, bytes, () -> backend.maxima(x.reshape(1, 1, ROWS * COLUMNS), true));
        products(grid, x);
        candidates("score_tile128_s8", "512x768x256", tiles(ROWS, 128) * tiles(OUTPUTS, 128) / 8.0, 1, 2.0 * ROWS * COLUMNS * OUTPUTS,
                ROWS + " x " + COLUMNS + " x " + OUTPUTS);
        candidates("score_tile64_s8", "4x197x64x197", 384 / 4.0, 1, 2.0 * 384 * 197 * 64 * 197, "384 of 197 x 64 x 197");
        System.out.println("\n" + String.join("\n", rates));
    }

    private void products(CodeGrid grid, View x) {
        int rows = 512;
        Backend.Linear weights = backend.linear(scope, new byte[OUTPUTS * COLUMNS], new float[OUTPUTS], COLUMNS, Optional.empty());
        View y = scope.floats(rows, OUTPUTS);
        double factor = tiles(ROWS, 128) / (rows / 128.0);
        row("matmul_tile128_s8", ROWS + " x " + COLUMNS + " x " + OUTPUTS, factor, (long) ROWS * COLUMNS + (long) COLUMNS * OUTPUTS
                + (long) ROWS * OUTPUTS * Float.BYTES, () -> backend.linear(x.slice(0, 0, rows), grid, weights, y));
    }

    private void candidates(String entry, String part, double factor, int images, double operations, String shape) {
        try (Scope inner = backend.scope()) {
            ScoringCase searching = ScoringCase.of(backend, inner, part, images, Operand.RIGHT);
            Map<String, Double> seconds = row(entry, shape + ", " + CANDIDATES + " candidates", factor, 0, searching::score);
            rates.add(String.format(Locale.ROOT, "`%s`: %.0f TOP/s predicted on %s, if all multiprocessors are busy all the time; by the"
                    + " tensor cores alone %.0f.", entry, 1e-12 * CANDIDATES * operations / slowest(seconds).getValue(),
                    Card.ALL.get(0).name(), 1e-12 * CANDIDATES * operations / seconds.get("tensor cores")));
        }
    }

    /** Runs an operation, prints what its kernel took, and gives the times on the first card. */
    private Map<String, Double> row(String entry, String shape, double factor, long memoryBytes, Runnable operation) {
        emulator.emulator_forget_counts();
        operation.run();
        // waits for the device
        backend.maxima(numbers(9, 1, 1, 1), true);
        Counts c = Counts.of(emulator, entry, factor);
        StringBuilder line = new StringBuilder(String.format(Locale.ROOT,
                "| `%s` | %s | %s | %s | %s | %s | %s | %s | %s (%.2f) | %s (%s) | %s | %.1f %% |", entry, shape,
                millions(c.instructions().get("integer")), millions(c.instructions().get("float32")),
                millions(c.instructions().get("conversion")), millions(c.instructions().get("special")),
                millions(c.instructions().get("tensor")), millions(c.instructions().get("load/store")), millions(c.globalSectors()),
                c.globalSectors() / c.leastSectors(), millions(c.sharedWavefronts()), millions(c.bankConflicts()),
                millions(c.localRequests()), 100 * c.idleLanes() / (c.lanes() + c.idleLanes())));
        for (Card card : Card.ALL) {
            Map.Entry<String, Double> slowest = slowest(card.seconds(c, memoryBytes));
            line.append(String.format(Locale.ROOT, " %s | %.3f |", slowest.getKey(), 1e3 * slowest.getValue()));
        }
        System.out.println(line);
        return Card.ALL.get(0).seconds(c, memoryBytes);
    }

    private static Map.Entry<String, Double> slowest(Map<String, Double> seconds) {
        return seconds.entrySet().stream().max(Comparator.comparingDouble(Map.Entry::getValue)).orElseThrow();
    }

    private static String millions(double number) {
        return number == 0 ? "0" : String.format(Locale.ROOT, "%.2f", 1e-6 * number);
    }

    private static double tiles(int size, int side) {
        return (size + side - 1) / side;
    }

    private View numbers(long seed, int... sizes) {
        View view = scope.floats(sizes);
        backend.upload(RandomNumbers.normal(seed, 1, sizes), view);
        return view;
    }
}
