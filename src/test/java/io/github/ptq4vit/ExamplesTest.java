package io.github.ptq4vit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The programs of {@code examples/library}, compiled and run on {@code examples/characters}. */
class ExamplesTest {
    private static final Path PROGRAMS = Path.of("examples", "library");
    private static final Pattern NUMBER = Pattern.compile("\\d+\\.\\d+");
    /** Top-1 of the float32 model in percent. */
    private static final double FLOAT = 81.5;

    @TempDir
    static Path classes;
    private static URLClassLoader loader;

    @BeforeAll
    static void compile() throws IOException {
        List<String> arguments = new ArrayList<>(List.of("-Xlint:all,-path", "-Werror", "--release", "17", "-cp",
                System.getProperty("java.class.path"), "-d", classes.toString()));
        try (Stream<Path> files = Files.list(PROGRAMS)) {
            files.map(Path::toString).filter(file -> file.endsWith(".java")).forEach(arguments::add);
        }
        ByteArrayOutputStream messages = new ByteArrayOutputStream();
        int result = ToolProvider.getSystemJavaCompiler().run(null, messages, messages, arguments.toArray(String[]::new));
        assertEquals(0, result, messages.toString(StandardCharsets.UTF_8));
        loader = new URLClassLoader(new URL[] {classes.toUri().toURL()});
    }

    @AfterAll
    static void close() throws IOException {
        if (loader != null) {
            loader.close();
        }
    }

    @Test
    void aModelIsQuantised() throws ReflectiveOperationException {
        List<String> lines = run("QuantizeModel");
        assertTrue(lines.get(0).matches("38 layers in .* s"), lines::toString);
        assertTrue(numbers(lines.get(1)).get(0) > FLOAT - 2, lines::toString);
        assertEquals(FLOAT, numbers(lines.get(1)).get(1), lines.toString());
    }

    @Test
    void aMetricOfOnesOwnChoosesScales() throws ReflectiveOperationException {
        List<String> lines = run("OwnMetric");
        assertTrue(numbers(lines.get(0)).get(0) > FLOAT - 10, lines::toString);
    }

    @Test
    void aQuantizerOfOnesOwnIsTriedInEveryLayer() throws ReflectiveOperationException {
        List<String> lines = run("OwnQuantizer");
        assertEquals(1 + 38, lines.size(), lines::toString);
        double floatingPoint = 0;
        double uniform = 0;
        for (String line : lines.subList(1, lines.size())) {
            List<Double> numbers = numbers(line.substring(line.indexOf(' ')));
            assertTrue(numbers.size() == 2 && numbers.get(0) > 0 && numbers.get(1) > 0, line);
            if (line.contains("matmul2")) {
                floatingPoint += numbers.get(0);
                uniform += numbers.get(1);
            }
        }
        assertTrue(floatingPoint < uniform, "most probabilities are small, where floating-point is finer: " + lines);
    }

    @Test
    void aRoundingOfOnesOwnBeatsTheNearestCodes() throws ReflectiveOperationException {
        List<String> lines = run("OwnRounding");
        assertTrue(numbers(lines.get(1)).get(0) < numbers(lines.get(0)).get(0), lines::toString);
    }

    private static List<Double> numbers(String line) {
        List<Double> numbers = new ArrayList<>();
        Matcher matcher = NUMBER.matcher(line);
        while (matcher.find()) {
            numbers.add(Double.parseDouble(matcher.group()));
        }
        return numbers;
    }

    private static synchronized List<String> run(String program) throws ReflectiveOperationException {
        PrintStream before = System.out;
        Locale locale = Locale.getDefault();
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        Locale.setDefault(Locale.ROOT);
        try {
            loader.loadClass(program).getMethod("main", String[].class).invoke(null, (Object) new String[] {"examples/characters"});
        } finally {
            System.setOut(before);
            Locale.setDefault(locale);
        }
        return printed.toString(StandardCharsets.UTF_8).lines().toList();
    }
}
