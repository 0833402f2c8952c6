package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Operand;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.benchmarks.KernelCases.Extent;
import io.github.ptq4vit.benchmarks.Predictions.Prediction;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Speed of the CUDA backend's kernels beside what bounds them; Markdown on standard output. Times are medians of the device's
 * events, inputs are larger than the L2, which is emptied before each run.
 *
 * <p>Arguments: {@code --small} for sizes that an emulated device can do, {@code --predicted FILE} for what {@link KernelCounts} printed.
 */
public final class GpuKernels {
    private static final int COLUMNS = 768;
    private static final int ATTENTION_COLUMNS = 197;

    private final CudaBackend backend;
    private final Scope scope;
    private final GpuFacts facts;
    private final boolean small;
    private final KernelClock clock;
    private double copyBandwidth;

    private GpuKernels(CudaBackend backend, Scope scope, boolean small) {
        this.backend = backend;
        this.scope = scope;
        this.small = small;
        this.facts = GpuFacts.of(backend);
        int floats = small ? 1 << 12 : Math.toIntExact(Math.max(1 << 24, 2 * facts.cacheBytes() / Float.BYTES));
        this.clock = new KernelClock(backend, scope.floats(floats), small ? 3 : 21);
    }

    /** Runs it. */
    public static void main(String[] args) throws IOException {
        List<String> rest = new ArrayList<>(Arrays.asList(args));
        boolean small = rest.remove("--small");
        if (!rest.isEmpty() && (rest.size() != 2 || !rest.get(0).equals("--predicted"))) {
            System.err.println("usage: GpuKernels [--small] [--predicted FILE]");
            System.exit(2);
        }
        System.setProperty("ptq4vit.cuda.timing", "true");
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            try (Scope scope = backend.scope()) {
                GpuKernels kernels = new GpuKernels(backend, scope, small);
                kernels.device();
                kernels.candidates();
                if (!rest.isEmpty()) {
                    kernels.besidePredictions(Path.of(rest.get(1)));
                }
                kernels.elementwise();
                kernels.products("float32 products, " + (backend.device().device().contains("cuBLAS ") ? "by cuBLAS, full float32"
                        : "there is no cuBLAS"));
            }
        }
        try (CudaBackend backend = CudaBackend.withoutBlas(CudaSettings.standard())) {
            try (Scope scope = backend.scope()) {
                new GpuKernels(backend, scope, small).products("float32 products by our own kernel");
            }
        }
        new CudnnComparison(small).print();
    }

    private void device() {
        row("Device: %s; compute capability %.1f, %d multiprocessors, at most %.0f MHz, L2 %.1f MiB%s", facts.name(),
                facts.capability() / 10.0, facts.multiprocessors(), facts.clock() / 1e6, facts.cacheBytes() / 1048576.0,
                facts.real() ? "." : ". **Emulated: all numbers below are without meaning.**");
        row("Peaks are multiprocessors x highest clock x operations in a clock; under load the clock may be lower.");
    }

    private void besidePredictions(Path file) throws IOException {
        Predictions predictions = new Predictions(file, facts.name());
        title("each kernel beside its prediction for " + predictions.card(), "| kernel | shape | predicted (ms) | bound by | measured (ms) |"
                + " measured to predicted | TOP/s |");
        Extent extent = small ? Extent.SMALL : Extent.WHOLE;
        KernelCases.each(backend, extent, each -> beside(each, predictions.of(each.entry(), each.shape())));
        ProductCases.each(backend, extent, each -> beside(each, predictions.of(each.entry(), each.shape())));
    }

    private void beside(KernelCases.Case of, Optional<Prediction> predicted) {
        double seconds = KernelClock.median(clock.kernels(of.run()), of.entry()::equals);
        // on some devices, and at small sizes, another kernel does the work
        if (seconds > 0) {
            row("| `%s` | %s | %s | %s | %.4f | %s | %s |", of.entry(), of.shape(),
                    predicted.map(p -> String.format(Locale.ROOT, "%.3f", p.milliseconds())).orElse(""),
                    predicted.map(Prediction::bound).orElse(""), 1e3 * seconds,
                    predicted.map(p -> String.format(Locale.ROOT, "%.2f", 1e3 * seconds / p.milliseconds())).orElse(""),
                    of.operations() > 0 && !small ? String.format(Locale.ROOT, "%.1f", 1e-12 * of.operations() / seconds) : "");
        }
    }

    private void candidates() {
        title("candidate kernel: 100 candidates, 8 bits, Hessian-weighted squared error",
                "| n x k x m | searched | kernel (ms) | TOP/s | of the int8 peak | with codes and sums (ms) | call (ms) | TOP/s of the call |");
        for (String shape : small ? List.of("66x40x70", "4x17x16x17")
                : List.of("6304x768x2304", "6304x768x3072", "6304x3072x768", "384x197x64x197", "384x197x197x64")) {
            for (Operand searched : Operand.values()) {
                try (Scope inner = backend.scope()) {
                    candidates(ScoringCase.of(backend, inner, shape, small ? 2 : 32, searched), shape);
                }
            }
        }
    }

    private void candidates(ScoringCase searching, String shape) {
        List<Map<String, Double>> runs = clock.kernels(searching::score);
        double tiles = KernelClock.median(runs, kind -> kind.startsWith("score_tile"));
        double call = clock.wallSeconds(searching::score);
        row("| %s | %s | %.3f | %.1f | %s | %.3f | %.3f | %.1f |", shape, searching.searched().name().toLowerCase(Locale.ROOT),
                1e3 * tiles, 1e-12 * searching.operations() / tiles, share(searching.operations() / tiles, facts.int8Peak()),
                1e3 * KernelClock.median(runs, kind -> true), 1e3 * call, 1e-12 * searching.operations() / call);
    }

    private void elementwise() {
        int rows = small ? 13 : Math.toIntExact(Math.max(6304L * 4, 2 * facts.cacheBytes() / Float.BYTES / COLUMNS + 1));
        View x = random(rows, 1);
        View y = random(rows, 2);
        View z = random(rows, 3);
        View row = uploaded(RandomNumbers.normal(4, 1, COLUMNS));
        long bytes = x.elements() * Float.BYTES;
        title("elementwise and reduction kernels: " + rows + " x " + COLUMNS + " float32",
                "| operation | bytes an element | ms | GB/s | of the copy's bandwidth |");
        double copy = clock.seconds(() -> backend.copy(x, y));
        copyBandwidth = 2 * bytes / copy;
        memory("copy by the driver, read and written", 8, x, copy);
        memory("layer normalisation", 8, x, clock.seconds(() -> backend.layerNorm(x, row, row, 1e-6f, y)));
        memory("layer normalisation, backward", 12, x, clock.seconds(() -> backend.layerNormBackward(x, row, 1e-6f, y, z)));
        View attention = shortRows(x);
        View attentionOut = shortRows(y);
        View attentionGradient = shortRows(z);
        memory("softmax, rows of " + ATTENTION_COLUMNS, 8, attention,
                clock.seconds(() -> backend.softmax(attention, 0.125f, attentionOut)));
        memory("softmax, backward", 12, attention,
                clock.seconds(() -> backend.softmaxBackward(attentionOut, attention, 0.125f, attentionGradient)));
        memory("GELU", 8, x, clock.seconds(() -> backend.gelu(x, y)));
        memory("GELU, backward", 12, x, clock.seconds(() -> backend.geluBackward(x, y, z)));
        memory("bias", 8, x, clock.seconds(() -> backend.add(x, row, y)));
        memory("residual", 12, x, clock.seconds(() -> backend.add(x, y, z)));
        memory("factor a column", 8, x, clock.seconds(() -> backend.multiply(x, row, y)));
        backend.zero(z);
        memory("sum of squared gradients", 12, x, clock.seconds(() -> backend.addSquare(x, 1e-3f, z)));
        memory("magnitudes", 8, x, clock.seconds(() -> backend.magnitudes(x, y)));
        memory("heads before tokens", 8, x, clock.seconds(() -> backend.copy(x.split(1, 12).permute(1, 0, 2),
                y.reshape(12, rows, COLUMNS / 12))));
        memory("transposed", 8, x, clock.seconds(() -> backend.copy(x.transpose(), y.reshape(COLUMNS, rows))));
        int[] backwards = IntStream.range(0, rows).map(i -> rows - 1 - i).toArray();
        memory("gathered rows", 8, x, clock.seconds(() -> backend.gather(x, backwards, y)));
        View codes = View.over(scope.buffer(DataType.INT8, x.elements()), rows, COLUMNS);
        CodeGrid grid = CodeGrid.of(CodeRange.unlimited(0.03f, -128, 127));
        memory("codes", 5, x, clock.seconds(() -> backend.quantize(x, grid, 0, codes)));
        memory("largest magnitude", 4, x, clock.seconds(() -> backend.maxima(x.reshape(1, 1, Math.toIntExact(x.elements())), true)));
        memory("largest of each of 12 heads", 4, x, clock.seconds(() -> backend.maxima(x.reshape(1, 12, rows * COLUMNS / 12), false)));
        memory("sums of rows in float64", 4, x, clock.seconds(() -> backend.rowSums(x)));
    }

    private void memory(String name, int bytesAnElement, View x, double seconds) {
        double bandwidth = x.elements() * bytesAnElement / seconds;
        row("| %s | %d | %.4f | %.1f | %s |", name, bytesAnElement, 1e3 * seconds, 1e-9 * bandwidth,
                share(bandwidth, Optional.of(copyBandwidth)));
    }

    /** Float32 products with an output in rows, the right operand transposed as weights are. */
    private void products(String words) {
        title(words, "| batch x n x k x m | ms | TFLOP/s | of the float32 peak |");
        for (int[] s : small ? new int[][] {{1, 33, 17, 40}, {4, 17, 16, 17}}
                : new int[][] {{1, 6304, 768, 2304}, {1, 6304, 3072, 768}, {384, 197, 64, 197}, {384, 197, 197, 64}}) {
            try (Scope inner = backend.scope()) {
                View a = uploaded(inner, RandomNumbers.normal(1, 1, s[0], s[1], s[2]));
                View b = uploaded(inner, RandomNumbers.normal(2, 1, s[0], s[3], s[2])).transpose();
                View c = inner.floats(s[0], s[1], s[3]);
                double seconds = clock.seconds(() -> backend.matmul(a, b, c));
                double speed = 2.0 * s[0] * s[1] * s[2] * s[3] / seconds;
                row("| %d x %d x %d x %d | %.4f | %.2f | %s |", s[0], s[1], s[2], s[3], 1e3 * seconds, 1e-12 * speed,
                        share(speed, facts.floatPeak()));
            }
        }
    }

    /** Equal rows, repeated on the device: drawing all of them would take the host long. */
    private View random(int rows, long seed) {
        View x = scope.floats(rows, COLUMNS);
        backend.zero(x);
        backend.add(x, uploaded(RandomNumbers.normal(seed, 1, COLUMNS)), x);
        return x;
    }

    private static View shortRows(View x) {
        int rows = Math.toIntExact(x.elements() / ATTENTION_COLUMNS);
        return x.reshape(Math.toIntExact(x.elements())).slice(0, 0, rows * ATTENTION_COLUMNS).reshape(rows, ATTENTION_COLUMNS);
    }

    private View uploaded(Tensor numbers) {
        return uploaded(scope, numbers);
    }

    private View uploaded(Scope owner, Tensor numbers) {
        View view = owner.floats(numbers.shape().toArray());
        backend.upload(numbers, view);
        return view;
    }

    private static String share(double reached, Optional<Double> limit) {
        return limit.map(most -> String.format(Locale.ROOT, "%.1f %%", 100 * reached / most)).orElse("not known");
    }

    static void title(String words, String columns) {
        row("%n### %s%n%n%s%n%s", words.substring(0, 1).toUpperCase(Locale.ROOT) + words.substring(1), columns,
                columns.replaceAll("[^|]+", "---"));
    }

    static void row(String format, Object... values) {
        System.out.printf(Locale.ROOT, format + "%n", values);
    }
}
