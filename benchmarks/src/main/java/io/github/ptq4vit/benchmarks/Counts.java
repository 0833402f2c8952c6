package io.github.ptq4vit.benchmarks;

import com.sun.jna.Library;
import com.sun.jna.Native;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What launches of a kernel ask of a multiprocessor, counted by the emulated GPU; instructions are those of the PTX, a warp at a
 * time. See {@code native/emulator/src/ptx/counter.h}.
 */
record Counts(Map<String, Double> instructions, double lanes, double idleLanes, double globalBytes, double globalSectors,
        double leastSectors, double sharedWavefronts, double bankConflicts, double localRequests, double products) {
    static final int SECTOR = 32;
    private static final List<String> PIPES = List.of("integer", "float32", "float64", "conversion", "special", "tensor",
            "load/store", "shuffle", "move", "control");
    private static final int BEFORE_PIPES = 2;
    private static final int NUMBERS = BEFORE_PIPES + PIPES.size() + 12;

    /** The emulated GPU that the backend has loaded. */
    interface Emulator extends Library {
        int emulator_set(String name, long value);

        int emulator_counts(String entry, long[] numbers, int room);

        void emulator_forget_counts();
    }

    static Emulator emulator() {
        return Native.load(Path.of(System.getProperty("ptq4vit.cuda.libraries", "target/emulator"), "libcuda.so.1").toAbsolutePath()
                .toString(), Emulator.class);
    }

    /** Of a kernel since counting began, times a factor: what a larger problem of as many like parts takes. */
    static Counts of(Emulator emulator, String entry, double factor) {
        long[] numbers = new long[NUMBERS];
        if (emulator.emulator_counts(entry, numbers, NUMBERS) != NUMBERS) {
            throw new IllegalStateException("The emulated GPU has not counted " + entry);
        }
        Map<String, Double> instructions = new LinkedHashMap<>();
        for (int i = 0; i < PIPES.size(); i++) {
            instructions.put(PIPES.get(i), factor * numbers[BEFORE_PIPES + i]);
        }
        int at = BEFORE_PIPES + PIPES.size();
        return new Counts(instructions, factor * numbers[at], factor * numbers[at + 1], factor * numbers[at + 3],
                factor * numbers[at + 4], factor * numbers[at + 5], factor * numbers[at + 7], factor * numbers[at + 8],
                factor * numbers[at + 10], factor * numbers[at + 11]);
    }

    /** Instructions that an assembler leaves: moves between registers mostly vanish. */
    double issued() {
        return instructions.entrySet().stream().filter(each -> !each.getKey().equals("move")).mapToDouble(Map.Entry::getValue).sum();
    }
}
