package io.github.ptq4vit.cli;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.BackendOptions;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.DeviceInfo;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Options of every command that computes. */
final class CommonOptions {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec command;

    @Option(names = "--backend", paramLabel = "NAME", defaultValue = "auto",
            description = "What computes: cpu, cuda, or auto, a GPU if one works here (default: ${DEFAULT-VALUE}).")
    private String backend;

    @Option(names = "--devices", paramLabel = "N", split = ",",
            description = "GPUs to use, for example 0,1, with --backend cuda (default: 0).")
    private List<Integer> devices = List.of();

    @Option(names = "--tf32", description = "Let a GPU round float32 products to TF32: faster, less exact.")
    private boolean tf32;

    @Option(names = "--cudnn", description = "Let cuDNN compute softmaxes on a GPU; takes a build with it (-Pcudnn).")
    private boolean cudnn;

    @Option(names = "--threads", paramLabel = "N", description = "Threads to compute with (default: one a processor).")
    private Optional<Integer> threads = Optional.empty();

    @Option(names = "--json", description = "Print the result as one JSON object.")
    private boolean json;

    @Option(names = "--verbose", description = "Show where a failure happened.")
    private boolean verbose;

    boolean json() {
        return json;
    }

    /** Checks what can be checked before anything is read. */
    void check() {
        try {
            options();
        } catch (BackendException e) {
            throw wrong(e.getMessage());
        }
        if (threads.isPresent() && threads.get() < 1) {
            throw wrong("The number of threads must be at least 1, for example 2, not " + threads.get());
        }
    }

    /** Opens the backend and says in one line what it is. */
    Backend open() {
        List<String> passedOver = new ArrayList<>();
        Backend opened = Backends.open(options(), passedOver::add);
        DeviceInfo device = opened.device();
        Console.note("backend: " + device.backend() + " (" + device.device() + ", " + device.workers()
                + (device.workers() == 1 ? " thread, " : " threads, ") + device.integerPath() + ")"
                + String.join("", passedOver.stream().map(reason -> "; not the GPU: " + reason).toList()));
        return opened;
    }

    private BackendOptions options() {
        return new BackendOptions(backend, threads.map(OptionalInt::of).orElse(OptionalInt.empty()), devices, tf32, cudnn);
    }

    /** Threads that decode images while others compute. */
    int decoders() {
        return threads.orElseGet(() -> Runtime.getRuntime().availableProcessors());
    }

    /** Wrong use of the command. */
    ParameterException wrong(String sentence) {
        return new ParameterException(command.commandLine(), sentence);
    }
}
