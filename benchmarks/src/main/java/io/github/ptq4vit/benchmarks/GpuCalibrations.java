package io.github.ptq4vit.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.ptq4vit.cli.Main;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.VitConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Whole calibrations on a GPU, each in a process of its own, from weights and images on disk to the quantised folder on disk;
 * Markdown on standard output. Weights and images are random numbers.
 *
 * <p>Arguments: a folder to work in, and {@code --small} for sizes that an emulated device can do.
 */
public final class GpuCalibrations {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<String> SEARCHES = List.of("exhaustive", "progressive");
    private static final List<String> FORWARDED = List.of("ptq4vit.cuda.libraries", "java.awt.headless");

    /** After the first, and beside one in which kernels are timed: a GPU may be there for ten minutes. */
    private static final int RUNS = 1;

    private final Path folder;

    private record Case(Architecture config, int heads, int images) {
        static Case known(String name, int heads, int images) {
            return new Case(KnownModel.named(name).config(), heads, images);
        }

        String name() {
            return config.name() + ", " + images + " images";
        }
    }

    /** What a process needed, and what it printed. */
    private record Run(double wall, JsonNode result) {
        double seconds(String name) {
            return result.path(name).asDouble();
        }
    }

    private GpuCalibrations(Path folder) {
        this.folder = folder;
    }

    /** Runs it; the exit code is 1 if a calibration failed, after which the other models still had their turn. */
    public static void main(String[] args) throws IOException, InterruptedException {
        boolean small = args.length == 2 && args[1].equals("--small");
        if (args.length != 1 && !small) {
            System.err.println("usage: GpuCalibrations FOLDER [--small]");
            System.exit(2);
        }
        List<Case> cases = small
                ? List.of(new Case(new VitConfig("small", 16, 8, 3, 24, 1, 3, 48, 5, false, 1e-6f), 3, 2))
                : List.of(Case.known("vit_base_patch16_224", 12, 32), Case.known("deit_small_patch16_224", 6, 32),
                        Case.known("vit_base_patch16_384", 12, 128));
        GpuCalibrations benchmark = new GpuCalibrations(Path.of(args[0]));
        row("Random weights and images. The whole process starts Java, reads weights and images, decodes these, loads the kernels,"
                + " calibrates and writes. In the first run the driver translates the kernels, later it has them in its cache."
                + " Stages are the host's: one that waits for results waits for earlier ones too. The GPU's idle share is"
                + " 1 - kernels / calibration of a further run in which events time each kernel; copies to and from the host"
                + " do not count as work, the few microseconds in which the device waits for a kernel already asked for do.");
        boolean failed = false;
        for (Case model : cases) {
            try {
                benchmark.measure(model);
            } catch (IllegalStateException e) {
                row("%n**Failed:** %s", e.getMessage());
                failed = true;
            }
        }
        System.exit(failed ? 1 : 0);
    }

    private void measure(Case model) throws IOException, InterruptedException {
        Path home = Files.createDirectories(folder.resolve(model.config.name()));
        RandomModel.weights(model.config, home.resolve("model.safetensors"));
        RandomModel.images(model.images, model.config.imageSize(), home.resolve("images"));
        row("%n### %s, W8A8, ptq4vit%n", model.name());
        row("| search | run | whole process (s) | calibration (s) | of it searching (s) | peak memory of the host (GB) |");
        row("|---|---|---|---|---|---|");
        Map<String, List<Run>> warm = new TreeMap<>();
        Map<String, Run> timed = new TreeMap<>();
        for (String search : SEARCHES) {
            deleteAll(home.resolve("driver-cache"));
            print(search, "first", calibrate(model, home, search, List.of()));
            warm.put(search, new ArrayList<>());
            for (int run = 0; run < RUNS; run++) {
                warm.get(search).add(calibrate(model, home, search, List.of()));
                print(search, run == 0 ? "second" : "again", warm.get(search).get(run));
            }
            timed.put(search, calibrate(model, home, search, List.of("-Dptq4vit.cuda.timing=true")));
        }
        row("%nMedians after the first run:%n%n| search | whole process (s) | calibration (s) | of it searching (s) | GPU idle |");
        row("|---|---|---|---|---|");
        for (String search : SEARCHES) {
            List<Run> all = warm.get(search);
            Run measured = timed.get(search);
            row("| %s | %.2f | %.2f | %.2f | %.1f %% |", search, KernelClock.median(all.stream().map(Run::wall).toList()),
                    KernelClock.median(all.stream().map(run -> run.seconds("seconds")).toList()),
                    KernelClock.median(all.stream().map(run -> run.seconds("search_seconds")).toList()),
                    100 * (1 - busy(measured) / measured.seconds("seconds")));
        }
        for (String search : SEARCHES) {
            breakdown("Stages, " + search + ", second run", warm.get(search).get(0), "timings");
            breakdown("Kernels, " + search + ", measured run", timed.get(search), "scoring_thread_seconds");
        }
        deleteAll(home);
    }

    /** One process. The driver keeps the kernels that it has translated in the model's own folder. */
    private static Run calibrate(Case model, Path home, String search, List<String> options)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx6g", "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path")));
        FORWARDED.stream().filter(name -> System.getProperty(name) != null)
                .forEach(name -> command.add("-D" + name + "=" + System.getProperty(name)));
        command.addAll(options);
        command.addAll(List.of(Main.class.getName(), "calibrate", "--backend", "cuda", "--model",
                home.resolve("model.safetensors").toString(), "--heads", Integer.toString(model.heads), "--images",
                home.resolve("images").toString(), "--count", Integer.toString(model.images), "--search", search, "--timings",
                "--json", "--force", "--out", home.resolve("quantised").toString()));
        Path output = home.resolve("output.json");
        ProcessBuilder builder = new ProcessBuilder(command).redirectOutput(output.toFile())
                .redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().put("CUDA_CACHE_PATH", home.resolve("driver-cache").toAbsolutePath().toString());
        long start = System.nanoTime();
        Process process = builder.start();
        try {
            int code = process.waitFor();
            double wall = (System.nanoTime() - start) / 1e9;
            if (code != 0) {
                throw new IllegalStateException(model.name() + ", " + search + ": calibrate ended with exit code " + code);
            }
            return new Run(wall, JSON.readTree(output.toFile()));
        } finally {
            process.destroy();
            process.waitFor(10, TimeUnit.SECONDS);
        }
    }

    private static void print(String search, String which, Run run) {
        row("| %s | %s | %.2f | %.2f | %.2f | %.2f |", search, which, run.wall, run.seconds("seconds"),
                run.seconds("search_seconds"), run.seconds("peak_memory_bytes") / 1e9);
    }

    private static double busy(Run run) {
        return StreamSupport.stream(run.result.path("scoring_thread_seconds").spliterator(), false)
                .mapToDouble(JsonNode::asDouble).sum();
    }

    private static void breakdown(String title, Run run, String field) {
        row("%n%s:%n%n| | seconds | share of the calibration |%n|---|---|---|", title);
        double all = run.seconds("seconds");
        List<Map.Entry<String, JsonNode>> parts = new ArrayList<>(run.result.path(field).properties());
        parts.sort(Comparator.comparingDouble(part -> -part.getValue().asDouble()));
        parts.forEach(part -> row("| %s | %.4f | %.1f %% |", part.getKey(), part.getValue().asDouble(),
                100 * part.getValue().asDouble() / all));
    }

    private static void deleteAll(Path path) throws IOException {
        if (!Files.exists(path)) {
            return;
        }
        try (Stream<Path> files = Files.walk(path)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> {
                try {
                    Files.delete(file);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
        }
    }

    private static void row(String format, Object... values) {
        System.out.printf(Locale.ROOT, format + "%n", values);
    }
}
