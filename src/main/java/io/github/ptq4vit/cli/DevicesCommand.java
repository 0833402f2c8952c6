package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.backend.Backends;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What there is to compute with. */
@Command(name = "devices", mixinStandardHelpOptions = true, versionProvider = Main.Version.class,
        description = "Show what can compute here, and why the rest cannot.")
final class DevicesCommand implements Callable<Integer> {
    @Option(names = "--json", description = "Print the result as one JSON object.")
    private boolean json;

    @Option(names = "--verbose", description = "Show where a failure happened.")
    private boolean verbose;

    @Override
    public Integer call() {
        List<Backends.Status> all = Backends.all();
        if (!json) {
            all.forEach(b -> Console.result("%-6s %s", b.name(), b.available() ? b.device()
                    : "not here: " + String.join("; ", b.reasons())));
            return 0;
        }
        ObjectNode result = Console.object();
        ArrayNode backends = result.putArray("backends");
        for (Backends.Status b : all) {
            ArrayNode reasons = backends.addObject().put("name", b.name()).put("available", b.available())
                    .put("device", b.device()).putArray("reasons");
            b.reasons().forEach(reasons::add);
        }
        Console.json(result);
        return 0;
    }
}
