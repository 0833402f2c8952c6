package io.github.ptq4vit.cli;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.DeviceInfo;
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
            description = "What computes: auto, cpu (default: ${DEFAULT-VALUE}).")
    private String backend;

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
        if (!Backends.names().contains(backend)) {
            throw wrong("There is no backend '" + backend + "'; this version has: " + String.join(", ", Backends.names()));
        }
        if (threads.isPresent() && threads.get() < 1) {
            throw wrong("The number of threads must be at least 1, for example 2, not " + threads.get());
        }
    }

    /** Opens the backend and says in one line what it is. */
    Backend open() {
        Backend opened = Backends.open(backend, threads.map(OptionalInt::of).orElse(OptionalInt.empty()));
        DeviceInfo device = opened.device();
        Console.note("backend: " + device.backend() + " (" + device.device() + ", " + device.workers() + " threads, "
                + device.integerPath() + ")");
        return opened;
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
