package io.github.ptq4vit.backend;

import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;

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
     * @param name {@code cpu}, {@code cuda}, or {@code auto} for the best that this machine has
     * @throws BackendException if it cannot run here; nothing else is tried in its place
     */
    public static Backend open(String name) {
        return open(name, OptionalInt.empty());
    }

    /**
     * Opens a backend that keeps to a number of threads.
     *
     * @param name one of {@link #names()}
     * @param threads of the processor, at least 1; if absent, one a processor
     * @throws BackendException if it cannot run here; nothing else is tried in its place
     */
    public static Backend open(String name, OptionalInt threads) {
        return open(new BackendOptions(name, threads, List.of(), false, false), reason -> {
        });
    }

    /**
     * Opens a backend.
     *
     * @param passedOver told why {@code auto} takes the processor although there is a driver for a GPU
     * @throws BackendException if it cannot run here; nothing else is tried in its place
     */
    public static Backend open(BackendOptions options, Consumer<String> passedOver) {
        return switch (options.name()) {
            case "cuda" -> new CudaBackend(CudaSettings.of(options.devices(), options.tf32(), options.cudnn()));
            case "auto" -> gpu(passedOver).<Backend>map(backend -> backend).orElseGet(() -> cpu(options.threads()));
            default -> cpu(options.threads());
        };
    }

    private static Backend cpu(OptionalInt threads) {
        return threads.isPresent() ? new CpuBackend(threads.getAsInt()) : new CpuBackend();
    }

    /** A real GPU, if one works here. */
    private static Optional<CudaBackend> gpu(Consumer<String> passedOver) {
        if (!CudaBackend.hasDriver()) {
            return Optional.empty();
        }
        CudaBackend backend;
        try {
            backend = new CudaBackend(CudaSettings.standard());
        } catch (BackendException e) {
            passedOver.accept(e.getMessage());
            return Optional.empty();
        }
        if (backend.isReal()) {
            return Optional.of(backend);
        }
        backend.close();
        passedOver.accept("the emulated one is for tests, --backend cuda takes it");
        return Optional.empty();
    }

    /** What {@link #open} understands. */
    public static List<String> names() {
        return List.of("auto", "cpu", "cuda");
    }

    /** All backends of this version and whether they run here. */
    public static List<Status> all() {
        return List.of(status("cpu", () -> new CpuBackend(1), cpu -> List.of()),
                status("cuda", () -> new CudaBackend(CudaSettings.standard()), CudaBackend::details));
    }

    private static <B extends Backend> Status status(String name, Supplier<B> open, Function<B, List<String>> details) {
        try (B backend = open.get()) {
            DeviceInfo info = backend.device();
            List<String> words = new ArrayList<>(List.of(info.device(), info.integerPath()));
            words.addAll(details.apply(backend));
            return new Status(name, true, String.join(", ", words), List.of());
        } catch (BackendException e) {
            return new Status(name, false, "", List.of(e.getMessage()));
        }
    }
}
