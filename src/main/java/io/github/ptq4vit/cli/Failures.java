package io.github.ptq4vit.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import picocli.CommandLine.ParameterException;

/** What went wrong, as one sentence on standard error. */
final class Failures {
    /** Exceptions of these packages carry a sentence for the user. */
    private static final String OURS = "io.github.ptq4vit";

    private Failures() {
    }

    static int wrongUse(ParameterException e, boolean verbose) {
        String command = e.getCommandLine().getCommandSpec().qualifiedName();
        tell(e.getMessage() + " (see '" + command + " --help')", e, verbose);
        return Main.WRONG_USE;
    }

    static int failed(Throwable e, boolean verbose) {
        tell(sentence(e), e, verbose);
        return Main.FAILED;
    }

    static int resultIsLost() {
        Console.note("ptq4vit: Standard output is full or closed: the result could not be printed; what was written to files is complete");
        return Main.FAILED;
    }

    private static String sentence(Throwable e) {
        if (e instanceof OutOfMemoryError) {
            return "Out of memory (" + e.getMessage()
                    + "); use fewer images (--count) or threads (--threads), or give Java more: PTQ4VIT_JAVA_OPTS=-Xmx4g";
        }
        if (e instanceof IOException || e instanceof UncheckedIOException) {
            return "Reading or writing failed: " + e.getMessage();
        }
        boolean told = e.getMessage() != null
                && (e instanceof IllegalArgumentException || e.getClass().getPackageName().startsWith(OURS));
        return told ? e.getMessage() : "This should not happen: " + e + "; --verbose shows where, please report it";
    }

    private static void tell(String sentence, Throwable e, boolean verbose) {
        Console.note("ptq4vit: " + sentence);
        if (verbose) {
            e.printStackTrace(System.err);
        }
    }
}
