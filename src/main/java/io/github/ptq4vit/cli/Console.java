package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.tensor.Printable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Results go to standard output, everything else to standard error. */
final class Console {
    private Console() {
    }

    /** A line of a result. Names out of files cannot act on the terminal. */
    static void result(String format, Object... values) {
        System.out.println(Printable.lines(String.format(Locale.ROOT, format, values)));
    }

    /** A result as the one JSON object on standard output. */
    static void json(ObjectNode result) {
        System.out.println(result);
    }

    /** One line on standard error, whatever line breaks the text has. */
    static void note(String text) {
        System.err.println(Printable.lines(text.strip().replaceAll("\\s*\\R\\s*", " ")));
    }

    /**
     * Whether everything that was printed has reached standard output. A stream of Java's says so only when asked: a full disk
     * or a closed pipe is no exception.
     */
    static boolean resultIsWritten() {
        return !System.out.checkError();
    }

    /** A new JSON object. */
    static ObjectNode object() {
        return JsonNodeFactory.instance.objectNode();
    }

    /** For reading JSON. */
    static JsonMapper reader() {
        return new JsonMapper();
    }

    /** Largest memory of this process so far in bytes, as Linux counts it (VmHWM); 0 where that is unknown. */
    static long peakMemory() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmHWM:")) {
                    return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
                }
            }
        } catch (IOException | NumberFormatException e) {
            return 0;
        }
        return 0;
    }

    /** A fraction as a percentage: {@code 83.23 %}. */
    static String percent(double fraction) {
        return String.format(Locale.ROOT, "%.2f %%", 100 * fraction);
    }
}
