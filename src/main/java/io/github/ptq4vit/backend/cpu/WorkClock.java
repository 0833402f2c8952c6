package io.github.ptq4vit.backend.cpu;

import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** Adds up, over all threads, what the scoring of candidates is busy with. */
final class WorkClock {

    /** Kinds of work. */
    enum Kind {
        /** Products of codes with the comparison in their epilogue. */
        PRODUCT("products and comparison"),
        /** Sums of what the products left. */
        SUM("sums of losses"),
        /** Numbers to codes. */
        ENCODE("quantising"),
        /** Layouts: packing, transposing. */
        PACK("packing"),
        /** Making oneDNN primitives for new shapes. */
        COMPILE("compiling");

        private final String words;

        Kind(String words) {
            this.words = words;
        }
    }

    private final Map<Kind, LongAdder> nanos = new EnumMap<>(Kind.class);

    private final LongAdder operations = new LongAdder();

    WorkClock() {
        for (Kind kind : Kind.values()) {
            nanos.put(kind, new LongAdder());
        }
    }

    /** Counts the time since {@code start}, a {@link System#nanoTime()}; returns the time now. */
    long add(Kind kind, long start) {
        long now = System.nanoTime();
        nanos.get(kind).add(now - start);
        return now;
    }

    /** Counts the multiplications and additions of a product. */
    void count(long rows, long k, long columns, int ranges) {
        operations.add(2 * rows * k * columns * ranges);
    }

    /** Multiplications and additions so far. */
    double operations() {
        return operations.sum();
    }

    /** Thread seconds by kind. */
    Map<String, Double> seconds() {
        Map<String, Double> seconds = new LinkedHashMap<>();
        nanos.forEach((kind, sum) -> seconds.put(kind.words, sum.sum() / 1e9));
        return seconds;
    }
}
