package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.benchmarks.KernelCases.Case;
import io.github.ptq4vit.benchmarks.KernelCases.Extent;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Counts on the emulated GPU what kernels ask of a multiprocessor, and predicts by a roofline what bounds them and how long they
 * take on {@link Card#ALL}; Markdown on standard output, which {@link Predictions} reads. Parts of the shapes are run, and counted for
 * the whole.
 */
public final class KernelCounts {
    /** With so many multiprocessors a part of an elementwise shape is cut as all of it is on a card. */
    private static final int ROW_MULTIPROCESSORS = 8;
    /** And so few, that candidates are not shared out. */
    private static final int PRODUCT_MULTIPROCESSORS = 1;

    private final Counts.Emulator emulator;
    private final List<String> rates = new ArrayList<>();
    private final Set<String> counted = new TreeSet<>();

    private KernelCounts(Counts.Emulator emulator) {
        this.emulator = emulator;
    }

    /** Runs it. */
    public static void main(String[] args) throws IOException {
        try (CudaBackend first = new CudaBackend(CudaSettings.standard())) {
            if (first.isReal()) {
                System.err.println("KernelCounts counts on the emulated GPU: start it with -Dptq4vit.cuda.libraries=target/emulator");
                System.exit(1);
            }
        }
        Counts.Emulator emulator = Counts.emulator();
        emulator.emulator_set("compute_capability", 90);
        emulator.emulator_set("counted", 1);
        new KernelCounts(emulator).all();
    }

    private void all() throws IOException {
        System.out.println("# Kernels, predicted, not measured\n\nCounts of the shipped PTX on the emulated GPU, a warp's instruction"
                + " as one; and the time by the slowest of: each kind of unit, issue, tensor cores by `mma.sync`, shared memory, L2,"
                + " memory. Latencies, the assembler's own instructions (64-bit integers take several) and what does not overlap are"
                + " not in it, so times are lower bounds.\n");
        GpuKernels.title("counts, in millions of a warp's", "| kernel | shape | integer | float32 | float64 | conversion | special | mma |"
                + " load/store | sectors (of the least) | shared wavefronts (conflicts) | local | idle lanes |"
                + Card.ALL.stream().map(card -> " " + card.name() + ": bound by | ms |").reduce("", String::concat));
        try (CudaBackend backend = opened(ROW_MULTIPROCESSORS)) {
            KernelCases.each(backend, Extent.PART, each -> row(backend, each));
        }
        try (CudaBackend backend = opened(PRODUCT_MULTIPROCESSORS)) {
            ProductCases.each(backend, Extent.PART, each -> row(backend, each));
        }
        System.out.println("\n" + String.join("\n", rates));
        Set<String> missing = entries();
        missing.removeAll(counted);
        if (!missing.isEmpty()) {
            System.err.println("KernelCounts has no case for " + String.join(", ", missing));
            System.exit(1);
        }
    }

    private CudaBackend opened(int multiprocessors) {
        emulator.emulator_set("multiprocessors", multiprocessors);
        return new CudaBackend(CudaSettings.standard());
    }

    /** Runs an operation and prints what its kernel took. */
    private void row(CudaBackend backend, Case of) {
        emulator.emulator_forget_counts();
        of.run().run();
        synchronize(backend);
        Counts c = Counts.of(emulator, of.entry(), of.factor());
        StringBuilder line = new StringBuilder(String.format(Locale.ROOT,
                "| `%s` | %s | %s | %s | %s | %s | %s | %s | %s | %s (%.2f) | %s (%s) | %s | %.1f %% |", of.entry(), of.shape(),
                millions(c.instructions().get("integer")), millions(c.instructions().get("float32")),
                millions(c.instructions().get("float64")), millions(c.instructions().get("conversion")),
                millions(c.instructions().get("special")), millions(c.instructions().get("tensor")),
                millions(c.instructions().get("load/store")), millions(c.globalSectors()), c.globalSectors() / c.leastSectors(),
                millions(c.sharedWavefronts()), millions(c.bankConflicts()), millions(c.localRequests()),
                100 * c.idleLanes() / (c.lanes() + c.idleLanes())));
        for (Card card : Card.ALL) {
            Map.Entry<String, Double> slowest = card.seconds(c, of.memoryBytes()).entrySet().stream()
                    .max(Comparator.comparingDouble(Map.Entry::getValue)).orElseThrow();
            line.append(String.format(Locale.ROOT, " %s | %.3f |", slowest.getKey(), 1e3 * slowest.getValue()));
        }
        System.out.println(line);
        counted.add(of.entry());
        if (of.operations() > 0) {
            rates.add(rate(of, Card.ALL.get(0).seconds(c, of.memoryBytes())));
        }
    }

    private static String rate(Case of, Map<String, Double> seconds) {
        String first = seconds.get("tensor cores") > 0 ? "tensor cores" : "float32";
        return String.format(Locale.ROOT, "* `%s`: %.0f TOP/s predicted on %s, if all multiprocessors are busy all the time; by %s alone"
                + " %.0f.", of.entry(), 1e-12 * of.operations() / seconds.values().stream().mapToDouble(each -> each).max().orElseThrow(),
                Card.ALL.get(0).name(), first, 1e-12 * of.operations() / seconds.get(first));
    }

    private static void synchronize(CudaBackend backend) {
        try (Scope scope = backend.scope()) {
            View one = scope.floats(1);
            backend.zero(one);
            backend.download(one);
        }
    }

    private static Set<String> entries() throws IOException {
        try (InputStream ptx = CudaBackend.class.getResourceAsStream("/kernels/ptq4vit-sm80.ptx")) {
            return Pattern.compile("\\.entry\\s+(\\w+)").matcher(new String(ptx.readAllBytes(), StandardCharsets.UTF_8)).results()
                    .map(found -> found.group(1)).collect(Collectors.toCollection(TreeSet::new));
        }
    }

    private static String millions(double number) {
        return number == 0 ? "0" : String.format(Locale.ROOT, number < 1e4 ? "%.4f" : "%.2f", 1e-6 * number);
    }
}
