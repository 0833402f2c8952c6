package io.github.ptq4vit.backend;

import io.github.ptq4vit.backend.cpu.CpuBackend;
import java.util.List;
import java.util.OptionalInt;

/** The one place that knows which backends there are. */
public final class Backends {

    /** What {@code devices} tells of a backend: the device if it is available, else the reasons why not. */
    public record Status(String name, boolean available, String device, List<String> reasons) {
    }

    private Backends() {
    }

    /**
     * Opens a backend.
     *
     * @param name {@code cpu}, or {@code auto} for the best that this machine has
     * @throws BackendException if it cannot run here; nothing else is tried in its place
     */
    public static Backend open(String name) {
        return open(name, OptionalInt.empty());
    }

    /**
     * Opens a backend that keeps to a number of threads.
     *
     * @param name one of {@link #names()}
     * @param threads at least 1; if absent, one a processor
     * @throws BackendException if it cannot run here; nothing else is tried in its place
     */
    public static Backend open(String name, OptionalInt threads) {
        if (!names().contains(name)) {
            throw new BackendException("There is no backend '" + name + "'; this version has: " + String.join(", ", names()));
        }
        return threads.isPresent() ? new CpuBackend(threads.getAsInt()) : new CpuBackend();
    }

    /** What {@link #open} understands. */
    public static List<String> names() {
        return List.of("auto", "cpu");
    }

    /** All backends of this version and whether they run here. */
    public static List<Status> all() {
        try (CpuBackend cpu = new CpuBackend(1)) {
            DeviceInfo info = cpu.device();
            return List.of(new Status("cpu", true, info.device() + ", " + info.integerPath(), List.of()));
        } catch (BackendException e) {
            return List.of(new Status("cpu", false, "", List.of(e.getMessage())));
        }
    }
}
