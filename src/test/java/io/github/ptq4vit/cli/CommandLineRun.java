package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/** A command as a user would run it, and what it printed. */
record CommandLineRun(int code, String out, String err) {

    static CommandLineRun of(Object... args) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream realOut = System.out;
        PrintStream realErr = System.err;
        try {
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            int code = Main.run(Arrays.stream(args).map(Object::toString).toArray(String[]::new));
            return new CommandLineRun(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(realOut);
            System.setErr(realErr);
        }
    }

    /** It ended well. */
    CommandLineRun succeeded() {
        assertEquals(0, code, err);
        return this;
    }

    /** It ended with this code and exactly one line that says why and contains all of this; nothing on standard output. */
    void failed(int expected, Object... parts) {
        assertEquals(expected, code, err);
        assertEquals("", out);
        assertFalse(err.contains("\tat ") || err.contains("Exception"), err);
        List<String> sentences = err.lines().filter(line -> line.startsWith("ptq4vit: ")).toList();
        assertEquals(1, sentences.size(), err);
        List<String> others = err.lines().filter(line -> !line.startsWith("ptq4vit: ")).toList();
        assertTrue(others.stream().allMatch(l -> l.startsWith("transform: ") || l.startsWith("backend: ") || l.startsWith("kept: ")
                || l.startsWith("WARN ")),
                err);
        for (Object part : parts) {
            assertTrue(sentences.get(0).contains(part.toString()), "\"" + part + "\" is not in: " + sentences.get(0));
        }
    }
}
