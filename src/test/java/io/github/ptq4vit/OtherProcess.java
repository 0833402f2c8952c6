package io.github.ptq4vit;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** A Java VM of its own with the classes of this one. */
public final class OtherProcess {
    private OtherProcess() {
    }

    /** A result of a process that has ended: its exit code (128 and more: the signal that killed it) and what it printed. */
    public record Ended(int code, String out, String err) {
    }

    /** Starts a main class. */
    public static ProcessBuilder of(Class<?> main, Object... arguments) {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx512m",
                "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true", "-cp", System.getProperty("java.class.path"),
                main.getName()));
        Arrays.stream(arguments).map(Object::toString).forEach(command::add);
        return new ProcessBuilder(command);
    }

    /** Runs a main class to its end, with some more of the environment. */
    public static Ended run(Path scratch, Map<String, String> environment, Class<?> main, Object... arguments) throws Exception {
        Path out = Files.createTempFile(scratch, "out", ".txt");
        Path err = Files.createTempFile(scratch, "err", ".txt");
        ProcessBuilder builder = of(main, arguments).redirectOutput(out.toFile()).redirectError(err.toFile());
        builder.environment().putAll(environment);
        int code = builder.start().waitFor();
        Ended ended = new Ended(code, Files.readString(out), Files.readString(err));
        Files.delete(out);
        Files.delete(err);
        return ended;
    }

    /** Waits for a line on a process's standard output. */
    public static void await(Process process, String line) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        String read = lines.readLine();
        if (!line.equals(read)) {
            throw new IOException("Expected is the line " + line + ", found is " + read);
        }
    }
}
