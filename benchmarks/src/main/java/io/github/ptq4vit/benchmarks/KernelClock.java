package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.View;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Measures an operation's kernels by the device's events. Before each run memory larger than the L2 is set to zero: that
 * empties the cache, and keeps the device busy until the operation's first kernel has arrived.
 *
 * @param flushed that memory
 * @param runs how many of them, after two that are not measured
 */
record KernelClock(Backend backend, View flushed, int runs) {
    private static final int WARM_UP = 2;
    private static final String FLUSH = "zero";

    /** Seconds by kernel, of each run. */
    List<Map<String, Double>> kernels(Runnable operation) {
        List<Map<String, Double>> found = new ArrayList<>();
        for (int run = -WARM_UP; run < runs; run++) {
            Map<String, Double> before = backend.scoringSeconds();
            backend.zero(flushed);
            operation.run();
            Map<String, Double> spent = new HashMap<>(backend.scoringSeconds());
            spent.replaceAll((kind, seconds) -> seconds - before.getOrDefault(kind, 0.0));
            spent.remove(FLUSH);
            if (run >= 0) {
                found.add(spent);
            }
        }
        return found;
    }

    /** Median of the seconds of some kernels. */
    static double median(List<Map<String, Double>> runs, Predicate<String> kinds) {
        return median(runs.stream().map(run -> run.entrySet().stream().filter(e -> kinds.test(e.getKey()))
                .mapToDouble(Map.Entry::getValue).sum()).toList());
    }

    /** Median seconds of all kernels of an operation. */
    double seconds(Runnable operation) {
        return median(kernels(operation), kind -> true);
    }

    /** Median seconds on the host's clock of an operation that waits for its result, the cache as the run before left it. */
    double wallSeconds(Runnable operation) {
        List<Double> found = new ArrayList<>();
        for (int run = -WARM_UP; run < runs; run++) {
            // waits for what is left
            backend.scoringSeconds();
            long start = System.nanoTime();
            operation.run();
            if (run >= 0) {
                found.add((System.nanoTime() - start) / 1e9);
            }
        }
        return median(found);
    }

    static double median(List<Double> values) {
        List<Double> sorted = values.stream().sorted().toList();
        int half = sorted.size() / 2;
        return sorted.size() % 2 == 1 ? sorted.get(half) : (sorted.get(half - 1) + sorted.get(half)) / 2;
    }
}
