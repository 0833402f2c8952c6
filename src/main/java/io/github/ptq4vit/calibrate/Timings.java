package io.github.ptq4vit.calibrate;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** Where the time of a calibration went: wall-clock seconds by stage, in order of first appearance. */
public final class Timings {
    private final Map<String, Double> seconds = new LinkedHashMap<>();

    private final Map<String, Double> scoring = new LinkedHashMap<>();

    /** Runs a stage and adds its time. */
    <T> T time(String stage, Supplier<T> work) {
        long start = System.nanoTime();
        try {
            return work.get();
        } finally {
            add(stage, (System.nanoTime() - start) / 1e9);
        }
    }

    /** Runs a stage without a result and adds its time. */
    void time(String stage, Runnable work) {
        time(stage, () -> {
            work.run();
            return stage;
        });
    }

    void add(String stage, double more) {
        seconds.merge(stage, more, Double::sum);
    }

    /** Seconds by stage. */
    public Map<String, Double> seconds() {
        return Map.copyOf(seconds);
    }

    /** Stages in order. */
    public Iterable<Map.Entry<String, Double>> stages() {
        return new LinkedHashMap<>(seconds).entrySet();
    }

    /** Takes over what the device was busy with while it scored candidates, as far as it came after {@code before}. */
    void scored(Map<String, Double> before, Map<String, Double> after) {
        after.forEach((kind, sum) -> scoring.put(kind, sum - before.getOrDefault(kind, 0.0)));
    }

    /** What the device was busy with, see {@link io.github.ptq4vit.backend.Backend#scoringSeconds}; empty if it does not tell. */
    public Map<String, Double> scoring() {
        return new LinkedHashMap<>(scoring);
    }
}
