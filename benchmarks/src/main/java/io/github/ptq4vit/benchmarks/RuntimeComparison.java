package io.github.ptq4vit.benchmarks;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.evaluate.Ranks;
import io.github.ptq4vit.export.OnnxModel;
import io.github.ptq4vit.export.OnnxOptions;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.Labels;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A model in float32 and quantised, by this library and by ONNX Runtime: accuracy, agreement, and time for a batch of 32,
 * each program's networks measured in turn so that ratios hold on a machine whose speed drifts.
 *
 * <p>Arguments: float32 model, quantised folder, rounds of timing, and, for the accuracy, image folder, labels file and
 * what replaces parts of the transform, such as {@code resize=none}.
 */
public final class RuntimeComparison {
    private static final int BATCH = 32;
    private static final int THREADS = Runtime.getRuntime().availableProcessors();

    private RuntimeComparison() {
    }

    private interface Network {
        Tensor logits(Tensor pixels) throws OrtException;
    }

    /** Runs it. */
    public static void main(String[] args) throws OrtException {
        VisionTransformer plain = ModelReader.read(Path.of(args[0]), ReadOptions.NONE);
        Checkpoint checkpoint = Checkpoint.read(Path.of(args[1]));
        QuantizedModel quantized = checkpoint.model();
        OnnxOptions int8 = new OnnxOptions(OnnxOptions.USUAL, OnnxOptions.WeightType.INT8);
        try (Backend backend = Backends.open("cpu"); Classifier ourFloat = Classifier.of(backend, plain);
                Classifier ours = Classifier.of(backend, quantized);
                Classifier reproducible = Classifier.of(backend.reproducible(), quantized);
                OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(THREADS);
            OrtEnvironment environment = OrtEnvironment.getEnvironment();
            try (OrtSession theirFloat = environment.createSession(OnnxModel.of(plain, int8).toBytes(), options);
                    OrtSession theirs = environment.createSession(OnnxModel.of(quantized, int8).toBytes(), options)) {
                Map<String, Network> networks = new LinkedHashMap<>();
                networks.put("ours, float32", ourFloat::logits);
                networks.put("ours, quantised", ours::logits);
                networks.put("ONNX Runtime, float32", pixels -> run(environment, theirFloat, pixels));
                networks.put("ONNX Runtime, quantised", pixels -> run(environment, theirs, pixels));
                networks.put("ours, reproducible", reproducible::logits);
                int side = plain.config().imageSize();
                Tensor random = RandomNumbers.normal(1, 1, BATCH, plain.config().channels(), side, side);
                time(networks, "ours", random, Integer.parseInt(args[2]));
                time(networks, "ONNX Runtime", random, Integer.parseInt(args[2]));
                if (args.length > 3) {
                    ImageTransform transform = ImageTransform.timm(side, 1, ImageTransform.HALF, ImageTransform.HALF)
                            .with(checkpoint.transform());
                    accuracy(networks, Path.of(args[3]), Path.of(args[4]), args.length > 5 ? transform.with(args[5]) : transform,
                            plain.config().classes());
                }
            }
        }
    }

    private static Tensor run(OrtEnvironment environment, OrtSession session, Tensor pixels) throws OrtException {
        long[] sizes = Arrays.stream(pixels.shape().toArray()).asLongStream().toArray();
        try (OnnxTensor input = OnnxTensor.createTensor(environment, pixels.data().duplicate(), sizes);
                OrtSession.Result result = session.run(Map.of(OnnxModel.INPUT, input))) {
            float[][] rows = (float[][]) result.get(OnnxModel.OUTPUT).orElseThrow().getValue();
            Tensor logits = Tensor.zeros(rows.length, rows[0].length);
            for (int i = 0; i < rows.length; i++) {
                logits.data().put(i * rows[i].length, rows[i]);
            }
            return logits;
        }
    }

    /** Those of one program in turn, the float32 one first: threads of the other may keep looking for work for a while. */
    private static void time(Map<String, Network> networks, String program, Tensor pixels, int rounds) throws OrtException {
        List<String> names = networks.keySet().stream().filter(name -> name.startsWith(program)).toList();
        double[][] seconds = new double[names.size()][rounds];
        for (int round = -3; round < rounds; round++) {
            for (int i = 0; i < names.size(); i++) {
                long start = System.nanoTime();
                networks.get(names.get(i)).logits(pixels);
                if (round >= 0) {
                    seconds[i][round] = (System.nanoTime() - start) / 1e9;
                }
            }
        }
        for (int i = 0; i < names.size(); i++) {
            double[] ratios = new double[rounds];
            for (int round = 0; round < rounds; round++) {
                ratios[round] = seconds[0][round] / seconds[i][round];
            }
            System.out.printf(Locale.ROOT, "%-24s median %.3f s, best %.3f s for %d images; %.2f times as fast as float32 (median of %d "
                    + "pairs; %.2f to %.2f)%n", names.get(i), median(seconds[i]), Arrays.stream(seconds[i]).min().orElseThrow(), BATCH,
                    median(ratios), rounds, Arrays.stream(ratios).min().orElseThrow(), Arrays.stream(ratios).max().orElseThrow());
        }
    }

    private static double median(double[] numbers) {
        double[] sorted = numbers.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private static void accuracy(Map<String, Network> networks, Path images, Path labelFile, ImageTransform transform, int classes)
            throws OrtException {
        ImageFolder folder = ImageFolder.open(images);
        Labels labels = Labels.read(labelFile, folder, classes);
        Map<String, Integer> right = new LinkedHashMap<>();
        int[] agreeing = new int[2];
        double[] divergence = new double[2];
        int count = 0;
        try (ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, BATCH, THREADS)) {
            while (loader.hasNext()) {
                Batch batch = loader.next();
                Tensor[] logits = new Tensor[networks.size()];
                int index = 0;
                for (Map.Entry<String, Network> network : networks.entrySet()) {
                    logits[index] = network.getValue().logits(batch.pixels());
                    for (int i = 0; i < batch.size(); i++) {
                        boolean hit = Ranks.best(logits[index], i) == labels.of(batch.ids().get(i));
                        right.merge(network.getKey(), hit ? 1 : 0, Integer::sum);
                    }
                    index++;
                }
                for (int kind = 0; kind < 2; kind++) {
                    for (int i = 0; i < batch.size(); i++) {
                        agreeing[kind] += Ranks.best(logits[kind], i) == Ranks.best(logits[kind + 2], i) ? 1 : 0;
                        divergence[kind] += Predictions.divergence(logits[kind], logits[kind + 2], i);
                    }
                }
                count += batch.size();
            }
        }
        for (Map.Entry<String, Integer> entry : right.entrySet()) {
            System.out.printf(Locale.ROOT, "%-24s %d of %d right, %.2f %%%n", entry.getKey(), entry.getValue(), count,
                    100.0 * entry.getValue() / count);
        }
        for (int kind = 0; kind < 2; kind++) {
            System.out.printf(Locale.ROOT, "%s: both put %d of %d images into the same class, mean KL %.2e%n",
                    kind == 0 ? "float32" : "quantised", agreeing[kind], count, divergence[kind] / count);
        }
    }
}
