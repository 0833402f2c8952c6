package io.github.ptq4vit.benchmarks;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A GPU by its data sheet, and a roofline of it.
 *
 * @param clock in Hz, at which the data sheet's peaks are reached
 * @param memory bytes a second
 * @param cache bytes a second of the L2, of which no data sheet tells: about what others have measured
 */
record Card(String name, int multiprocessors, double clock, double memory, double cache) {
    static final List<Card> ALL = List.of(new Card("H100 SXM", 132, 1.83e9, 3.35e12, 5.5e12),
            new Card("H200", 132, 1.83e9, 4.8e12, 5.5e12));

    /** Warp instructions that a multiprocessor of 9.0 starts in a clock, by kind: CUDA C++ Programming Guide, "Arithmetic Instructions". */
    private static final Map<String, Double> RATES = Map.of("integer", 2.0, "float32", 4.0, "float64", 2.0, "conversion", 2.0, "special",
            0.5, "load/store", 1.0, "shuffle", 1.0);
    private static final double ISSUE = 4;
    /** Products of int8 in a clock by the data sheet, and the part of it that {@code mma.sync} is said to reach there. */
    private static final double PRODUCTS = 4096;
    private static final double REACHED_BY_MMA = 0.62;

    /** Seconds by what would bound a kernel of such counts, if nothing else did and all multiprocessors had an equal share. */
    Map<String, Double> seconds(Counts counts, double memoryBytes) {
        Map<String, Double> seconds = new LinkedHashMap<>();
        double clocks = multiprocessors * clock;
        counts.instructions().forEach((pipe, number) -> {
            if (RATES.containsKey(pipe)) {
                seconds.put(pipe, number / RATES.get(pipe) / clocks);
            }
        });
        seconds.put("issue", counts.issued() / ISSUE / clocks);
        seconds.put("tensor cores", counts.products() / (PRODUCTS * REACHED_BY_MMA) / clocks);
        seconds.put("shared memory", counts.sharedWavefronts() / clocks);
        seconds.put("L2", counts.globalSectors() * Counts.SECTOR / cache);
        seconds.put("memory", memoryBytes / memory);
        return seconds;
    }
}
