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
    }

    private final Settings library = Native.load(folder().resolve("libcuda.so.1").toString(), Settings.class);

    /** Puts all settings back. */
    public EmulatedGpu() {
        close();
    }

    /** Whether the CUDA tests are to run on it: on a machine with a real GPU they run there if asked to. */
    public static boolean isUsed() {
        return folder().isAbsolute();
    }

    /** Whether it has been built. Where tests are run for others to rely on, it must be. */
    public static boolean isBuilt() {
        boolean built = isUsed() && Files.isRegularFile(folder().resolve("libcuda.so.1"));
        if (!built && isUsed() && System.getenv("CI") != null) {
            throw new AssertionError("The emulated GPU is not built: " + folder() + "; install g++ and make, then make -C native/emulator");
        }
        return built;
    }

    private static Path folder() {
        return Path.of(System.getProperty(CudaLibraries.FOLDERS_PROPERTY, ""));
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

    /** Restores all settings and forgets failed kernels. */
    @Override
    public void close() {
        library.emulator_restore_settings();
        library.emulator_forget_failure();
    }
}
