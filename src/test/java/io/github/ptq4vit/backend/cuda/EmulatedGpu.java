package io.github.ptq4vit.backend.cuda;

import com.sun.jna.Library;
import com.sun.jna.Native;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The emulated GPU of {@code native/emulator}: what a test may set. Settings hold for the whole process, until the next of
 * these is made or this one is closed; so tests that use them may not run side by side.
 */
public final class EmulatedGpu implements AutoCloseable {
    private interface Settings extends Library {
        int emulator_set(String name, long value);

        void emulator_restore_settings();

        void emulator_forget_failure();

        long emulator_live_allocations();

        int emulator_counts(String entry, long[] numbers, int room);

        void emulator_forget_counts();

        String emulator_never_executed(int target);
    }

    /** What launches of a kernel asked of a multiprocessor, as {@code native/emulator/src/ptx/counter.h} counts it. */
    public record Counts(long launches, long globalBytes, long globalSectors, long leastSectors, long sharedWavefronts,
            long bankConflicts, long localRequests, long products) {
        private static final int PIPES = 10;
        private static final int NUMBERS = 2 + PIPES + 12;

        static Counts of(long[] n) {
            int at = 2 + PIPES + 2;
            return new Counts(n[0], n[at + 1], n[at + 2], n[at + 3], n[at + 5], n[at + 6], n[at + 8], n[at + 9]);
        }
    }

    private final Settings library = Native.load(folder().resolve("libcuda.so.1").toString(), Settings.class);

    /** Puts all settings back. */
    public EmulatedGpu() {
        close();
    }

    /** Whether the CUDA tests are to run on a real GPU instead: {@code mvn test -Pgpu}. */
    public static boolean isReplaced() {
        return Boolean.getBoolean("ptq4vit.tests.gpu");
    }

    /** Whether it is there for tests. Where tests are run for others to rely on, it must be. */
    public static boolean isBuilt() {
        if (isReplaced()) {
            return false;
        }
        boolean built = Files.isRegularFile(folder().resolve("libcuda.so.1"));
        if (!built && System.getenv("CI") != null) {
            throw new AssertionError("The emulated GPU is not built in " + folder()
                    + "; install g++ and make, then make -C native/emulator");
        }
        return built;
    }

    /** Whether there is a GPU for tests, emulated or real. */
    public static boolean isBuiltOrReplaced() {
        return isReplaced() || isBuilt();
    }

    private static Path folder() {
        return Path.of(System.getProperty(CudaLibraries.FOLDERS_PROPERTY, "not set")).toAbsolutePath();
    }

    /** Changes a setting until this is closed. */
    public EmulatedGpu set(String name, long value) {
        if (library.emulator_set(name, value) != 0) {
            throw new IllegalArgumentException("The emulated GPU has no setting " + name);
        }
        return this;
    }

    /** Pieces of memory, on the device and pinned, that were not freed. */
    public long liveAllocations() {
        return library.emulator_live_allocations();
    }

    /** What was counted of a kernel since {@link #forgetCounts}, with the setting {@code counted}. */
    public Counts counts(String entry) {
        long[] numbers = new long[Counts.NUMBERS];
        int count = library.emulator_counts(entry, numbers, numbers.length);
        if (count != numbers.length) {
            throw new AssertionError(entry + " has " + count + " counts, not " + numbers.length);
        }
        return Counts.of(numbers);
    }

    /** Starts counting from zero. */
    public void forgetCounts() {
        library.emulator_forget_counts();
    }

    /** Instructions of the latest PTX for a target that no counted launch has executed. */
    public String neverExecuted(int target) {
        return library.emulator_never_executed(target);
    }

    /** Restores all settings and forgets failed kernels. */
    @Override
    public void close() {
        library.emulator_restore_settings();
        library.emulator_forget_failure();
    }
}
