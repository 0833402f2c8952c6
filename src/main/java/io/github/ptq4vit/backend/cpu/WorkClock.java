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

    /** Thread seconds by kind. */
    Map<String, Double> seconds() {
        Map<String, Double> seconds = new LinkedHashMap<>();
        nanos.forEach((kind, sum) -> seconds.put(kind.words, sum.sum() / 1e9));
        return seconds;
    }
}
