package io.github.ptq4vit.cli;

import java.util.Arrays;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Where the command line starts. Exit codes: 0 done, 1 failed, 2 wrong use. */
@Command(name = "ptq4vit", mixinStandardHelpOptions = true, versionProvider = Main.Version.class,
        description = "Post-training quantisation of vision transformers.",
        subcommands = {CalibrateCommand.class, EvaluateCommand.class, CompareCommand.class, SensitivityCommand.class,
            ModelsCommand.class, ExportCommand.class, DevicesCommand.class, QuickstartCommand.class},
        footer = {"", "Try: ptq4vit quickstart", "Exit codes: 0 done, 1 failed, 2 wrong use"})
public final class Main implements Runnable {
    static final int DONE = 0;
    static final int FAILED = 1;
    static final int WRONG_USE = 2;
    private static final String VERBOSE = "--verbose";

    @Spec
    private CommandSpec spec;

    /** Runs and leaves the Java VM with the exit code. */
    public static void main(String[] args) {
        if (Arrays.asList(args).contains(VERBOSE)) {
            System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "debug");
        }
        System.exit(run(args));
    }

    /**
     * Runs a command with the standard streams of the moment.
     *
     * @return the exit code
     */
    public static int run(String... args) {
        boolean verbose = List.of(args).contains(VERBOSE);
        CommandLine commands = new CommandLine(new Main());
        Choices.register(commands);
        commands.setParameterExceptionHandler((e, given) -> Failures.wrongUse(e, verbose));
        commands.setExecutionExceptionHandler((e, command, parsed) -> Failures.failed(e, verbose));
        int code;
        try {
            code = commands.execute(args);
        } catch (Error e) {
            code = Failures.failed(e, verbose);
        }
        return Console.resultIsWritten() || code != DONE ? code : Failures.resultIsLost();
    }

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Say what to do: "
                + String.join(", ", spec.subcommands().keySet()));
    }

    /** The version from the jar's manifest. */
    static final class Version implements IVersionProvider {
        static String text() {
            String version = Main.class.getPackage().getImplementationVersion();
            return version == null ? "development" : version;
        }

        @Override
        public String[] getVersion() {
            return new String[] {"ptq4vit " + text()};
        }
    }
}
