package io.github.ptq4vit.benchmarks;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.export.OnnxModel;
import io.github.ptq4vit.export.OnnxOptions;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.BitWidths;
import io.github.ptq4vit.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Time of exported models in ONNX Runtime: float32 and quantised, for the targets portable and onnxruntime, at threads 1 and 2 and
 * batches of 1, 8 and 32. All run in turn, ratios are within a round, so that they hold on a machine whose speed drifts. Printed are
 * the ratios to both float32 graphs. Markdown on standard output.
 *
 * <p>Arguments: rounds, then a float32 model and quantised folders; or {@code random:NAME}, one of the known models with random
 * weights, calibrated on random images. With {@code -Dprofile=true} instead of the table where the time goes, by operator, for one
 * thread and a batch of 8.
 */
public final class RuntimeSpeed {
    private static final int[] THREADS = {1, 2};
    private static final int[] BATCHES = {1, 8, 32};
    private static final int PROFILED_BATCH = 8;
    private static final int WARMUP = 2;
    private static final String RANDOM = "random:";

    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final Map<String, byte[]> graphs = new LinkedHashMap<>();
    private final Architecture config;

    private RuntimeSpeed(VisionTransformer plain, Map<String, QuantizedModel> quantized) {
        this.config = plain.config();
        for (OnnxOptions.Target target : List.of(OnnxOptions.Target.PORTABLE, OnnxOptions.Target.ONNXRUNTIME)) {
            OnnxOptions options = new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8, target);
            String suffix = ", " + target.name().toLowerCase(Locale.ROOT);
            graphs.put("float32" + suffix, OnnxModel.of(plain, options).toBytes());
        }
        quantized.forEach((name, model) -> {
            for (OnnxOptions.Target target : List.of(OnnxOptions.Target.PORTABLE, OnnxOptions.Target.ONNXRUNTIME)) {
                OnnxOptions options = new OnnxOptions(OnnxOptions.USUAL, OnnxModel.weightType(model, target, OnnxOptions.USUAL), target);
                graphs.put(name + ", " + target.name().toLowerCase(Locale.ROOT), OnnxModel.of(model, options).toBytes());
            }
        });
    }

    /** Runs it. */
    public static void main(String[] args) throws OrtException, IOException {
        if (args.length < 2) {
            System.err.println("usage: RuntimeSpeed ROUNDS (MODEL QUANTISED... | random:NAME)");
            System.exit(2);
        }
        int rounds = Integer.parseInt(args[0]);
        RuntimeSpeed benchmark = args[1].startsWith(RANDOM) ? random(args[1].substring(RANDOM.length())) : read(args);
        if (Boolean.getBoolean("profile")) {
            benchmark.profile(rounds);
            return;
        }
        System.out.println("| threads | batch | graph | median ms | to float32, portable | to float32, onnxruntime |");
        System.out.println("|---|---|---|---|---|---|");
        for (int threads : THREADS) {
            for (int batch : BATCHES) {
                benchmark.time(threads, batch, rounds);
            }
        }
    }

    private static RuntimeSpeed read(String[] args) {
        Map<String, QuantizedModel> quantized = new LinkedHashMap<>();
        for (String folder : Arrays.asList(args).subList(2, args.length)) {
            quantized.put(Path.of(folder).getFileName().toString(), Checkpoint.read(Path.of(folder)).model());
        }
        return new RuntimeSpeed(ModelReader.read(Path.of(args[1]), ReadOptions.NONE), quantized);
    }

    private static RuntimeSpeed random(String name) throws IOException {
        Architecture config = KnownModel.named(name).config();
        Path file = Files.createTempFile(name, ".safetensors");
        try (Backend backend = Backends.open("cpu")) {
            RandomModel.weights(config, file);
            VisionTransformer plain = ModelReader.read(file, new ReadOptions(OptionalInt.empty(), OptionalInt.empty(), Optional.of(KnownModel.named(name))));
            Tensor images = RandomNumbers.normal(2, 1, 4, config.channels(), config.imageSize(), config.imageSize());
            Map<String, QuantizedModel> quantized = new LinkedHashMap<>();
            for (CalibrationConfig preset : List.of(CalibrationConfig.base(new BitWidths(8, 8)),
                    CalibrationConfig.ptq4vit(new BitWidths(8, 8)))) {
                CalibrationResult result = Calibrator.of(plain).on(backend).config(preset)
                        .run(new CalibrationImages(List.of("a", "b", "c", "d"), images));
                quantized.put(preset.preset() + " W8A8", new QuantizedModel(result.network(), result.layers()));
            }
            return new RuntimeSpeed(plain, quantized);
        } finally {
            Files.deleteIfExists(file);
        }
    }

    private void time(int threads, int batch, int rounds) throws OrtException {
        List<String> names = List.copyOf(graphs.keySet());
        double[][] times = new double[names.size()][rounds];
        List<OrtSession> sessions = new ArrayList<>();
        try (OnnxTensor input = images(batch); OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            // threads of one session would take time from the next
            options.addConfigEntry("session.intra_op.allow_spinning", "0");
            for (byte[] graph : graphs.values()) {
                sessions.add(environment.createSession(graph, options));
            }
            for (int round = -WARMUP; round < rounds; round++) {
                for (int i = 0; i < names.size(); i++) {
                    long start = System.nanoTime();
                    sessions.get(i).run(Map.of(OnnxModel.INPUT, input)).close();
                    if (round >= 0) {
                        times[i][round] = (System.nanoTime() - start) / 1e6;
                    }
                }
            }
        } finally {
            for (OrtSession session : sessions) {
                session.close();
            }
        }
        for (int i = 0; i < names.size(); i++) {
            System.out.printf(Locale.ROOT, "| %d | %d | %s | %.1f | %.2f | %.2f |%n", threads, batch, names.get(i), median(times[i]),
                    median(ratios(times[0], times[i])), median(ratios(times[1], times[i])));
        }
    }

    private OnnxTensor images(int batch) throws OrtException {
        int side = config.imageSize();
        Tensor pixels = RandomNumbers.normal(1, 1, batch, config.channels(), side, side);
        return OnnxTensor.createTensor(environment, pixels.data().duplicate(), new long[] {batch, config.channels(), side, side});
    }

    private static double[] ratios(double[] reference, double[] times) {
        double[] ratios = new double[times.length];
        for (int i = 0; i < ratios.length; i++) {
            ratios[i] = reference[i] / times[i];
        }
        return ratios;
    }

    private static double median(double[] numbers) {
        double[] sorted = numbers.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private void profile(int rounds) throws OrtException, IOException {
        for (Map.Entry<String, byte[]> graph : graphs.entrySet()) {
            Path prefix = Files.createTempDirectory("profile").resolve("run");
            Path file;
            try (OnnxTensor input = images(PROFILED_BATCH); OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
                options.setIntraOpNumThreads(1);
                options.enableProfiling(prefix.toString());
                try (OrtSession session = environment.createSession(graph.getValue(), options)) {
                    for (int round = 0; round < rounds; round++) {
                        session.run(Map.of(OnnxModel.INPUT, input)).close();
                    }
                    file = Path.of(session.endProfiling());
                }
            }
            print(graph.getKey(), file, rounds);
            Files.delete(file);
            Files.delete(prefix.getParent());
        }
    }

    private static void print(String name, Path file, int rounds) throws IOException {
        Map<String, double[]> operators = new HashMap<>();
        for (JsonNode event : new ObjectMapper().readTree(file.toFile())) {
            if (event.path("cat").asText().equals("Node") && event.path("name").asText().endsWith("_kernel_time")) {
                double[] sums = operators.computeIfAbsent(event.path("args").path("op_name").asText(), key -> new double[2]);
                sums[0] += event.path("dur").asDouble() / 1e3 / rounds;
                sums[1] += 1.0 / rounds;
            }
        }
        double total = operators.values().stream().mapToDouble(sums -> sums[0]).sum();
        System.out.printf(Locale.ROOT, "%n| %s, %.1f ms | nodes | ms | %% |%n|---|---|---|---|%n", name, total);
        operators.entrySet().stream().sorted(Comparator.comparingDouble(entry -> -entry.getValue()[0])).forEach(entry ->
                System.out.printf(Locale.ROOT, "| %s | %.0f | %.1f | %.1f |%n", entry.getKey(), entry.getValue()[1], entry.getValue()[0],
                        100 * entry.getValue()[0] / total));
    }
}
