package io.github.ptq4vit.cli;

import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.CheckpointWriter;
import io.github.ptq4vit.artifact.Fingerprints;
import io.github.ptq4vit.artifact.OutputFolder;
import io.github.ptq4vit.artifact.Provenance;
import io.github.ptq4vit.artifact.QuantizedModel;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.calibrate.Recipe;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Predictions;
import io.github.ptq4vit.tensor.Tensor;
import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** A calibration that ends in a folder. */
final class CalibrationJob {
    private final ModelSource.Plain model;
    private final WeightsWatch weights;
    private final ImageTransform transform;
    private final CalibrationImages images;
    /** Hashes take a while, in which other things can be done. */
    private final CompletableFuture<String> weightsHash;
    private final CompletableFuture<String> pixelsHash;

    private CalibrationJob(ModelSource.Plain model, WeightsWatch weights, ImageTransform transform, CalibrationImages images,
            CompletableFuture<String> weightsHash) {
        this.model = model;
        this.weights = weights;
        this.transform = transform;
        this.images = images;
        this.weightsHash = weightsHash;
        this.pixelsHash = CompletableFuture.supplyAsync(() -> Fingerprints.ofPixels(images.pixels()));
    }

    /**
     * Loads the images: the first {@code count} readable ones in the order that the seed gives.
     *
     * @param weights watched since before the model was read
     */
    static CalibrationJob prepare(ModelSource.Plain model, WeightsWatch weights, ImageTransform transform, Path folder, int count,
            long seed, int decoders) {
        ImageFolder images = ImageFolder.open(folder);
        CompletableFuture<String> weightsHash = CompletableFuture.supplyAsync(weights::hash);
        try (ImageLoader loader = ImageLoader.first(count, images, images.shuffled(seed), transform, count, decoders)) {
            Batch batch = loader.next();
            if (!loader.skipped().isEmpty()) {
                Console.note(loader.skipped().size() + " damaged images were left out and replaced by others");
            }
            return new CalibrationJob(model, weights, transform, new CalibrationImages(batch.ids(), batch.pixels()), weightsHash);
        }
    }

    CalibrationImages images() {
        return images;
    }

    /** What comes of work begun earlier; throws what it threw. */
    private static String done(CompletableFuture<String> hash) {
        try {
            return hash.join();
        } catch (CompletionException e) {
            throw e.getCause() instanceof RuntimeException cause ? cause : e;
        }
    }

    /**
     * Calibrates and writes; after a failure nothing is left that cannot be continued.
     *
     * @throws ArtifactException if the weights have changed meanwhile: what was calculated with the old ones is kept if it is
     *     certain, and nothing is finished
     */
    CalibrationResult run(Backend backend, Recipe config, OutputFolder out) {
        CheckpointWriter writer = CheckpointWriter.open(out, model.model(), transform.toString(), provenance(config, backend.device()));
        try (Bar bar = new Bar("calibrate", model.config().layers().size())) {
            CalibrationResult result = Calibrator.of(model.model()).on(backend).config(config).resume(writer.finished())
                    .records(writer.records()).onRecord(writer::record)
                    .network(writer.network()).onNetwork(network -> {
                        weights.requireUnchanged();
                        writer.network(network);
                    }).onUnit((unit, layers) -> {
                        weights.requireUnchanged();
                        writer.unit(unit, layers);
                    }).progress((step, done, total) -> bar.to(done, total, step)).run(images);
            finish(writer);
            return result;
        } catch (RuntimeException | Error e) {
            if (writer.abandon()) {
                Console.note("kept: " + out.path() + ", " + writer.extent() + "; --resume continues");
            }
            throw e;
        }
    }

    /** Mean divergence of the quantised model's predictions from the float32 model's on the calibration images, in nats. */
    double divergence(Backend backend, CalibrationResult result) {
        try (Classifier reference = Classifier.of(backend, model.model());
                Classifier quantized = Classifier.of(backend, new QuantizedModel(result.network(), result.layers()))) {
            Tensor expected = reference.logits(images.pixels());
            Tensor found = quantized.logits(images.pixels());
            return IntStream.range(0, images.ids().size()).mapToDouble(i -> Predictions.divergence(expected, found, i)).average()
                    .orElseThrow();
        }
    }

    private void finish(CheckpointWriter writer) {
        weights.requireUnchanged();
        try {
            weights.requireUnchanged(done(weightsHash));
        } catch (ArtifactException e) {
            // changed behind the back of sizes and times: nobody knows which units saw it
            writer.discard();
            throw e;
        }
        writer.finish();
    }

    /**
     * Whether a complete checkpoint was made of the same model and images with the same settings.
     *
     * @throws ArtifactException if not
     */
    void check(Checkpoint checkpoint, Recipe config, Path folder) {
        Provenance p = checkpoint.provenance();
        boolean same = p.weightsHash().equals(done(weightsHash)) && p.pixelsHash().equals(done(pixelsHash))
                && p.imageIds().equals(images.ids()) && p.seed() == config.seed()
                && plain(p.configuration()).equals(plain(settings(config)));
        if (!same) {
            throw new ArtifactException(folder + ": was quantised from another model, other images or with other settings;"
                    + " choose another --out");
        }
    }

    /** Numbers come back from a file as other types. */
    private static Map<String, String> plain(Map<String, Object> settings) {
        Map<String, String> text = new TreeMap<>();
        settings.forEach((name, value) -> text.put(name, value instanceof Number
                ? new BigDecimal(value.toString()).stripTrailingZeros().toPlainString() : value.toString()));
        return text;
    }

    /** SHA-256 of the weights and of the calibration images. */
    String fingerprint() {
        return done(weightsHash) + " " + done(pixelsHash);
    }

    private Provenance provenance(Recipe config, DeviceInfo device) {
        Map<String, String> versions = new LinkedHashMap<>();
        versions.put(Provenance.TOOL, Main.Version.text());
        versions.put("java", System.getProperty("java.version"));
        versions.put("backend", device.backend());
        versions.put("device", device.device());
        versions.put("float_products", device.floatPrecision());
        versions.put("softmax", device.softmax());
        return new Provenance(settings(config), config.seed(), images.ids(), Fingerprints.ofIds(images.ids()),
                done(pixelsHash), done(weightsHash), versions);
    }

    private Map<String, Object> settings(Recipe config) {
        Map<String, Object> settings = new LinkedHashMap<>();
        describe((Record) config, "", settings);
        settings.remove("seed");
        model.options().weightsKey().ifPresent(key -> settings.put("weights_key", key));
        return settings;
    }

    /** All components of a record, so that none can be forgotten. */
    private static void describe(Record record, String prefix, Map<String, Object> settings) {
        for (RecordComponent component : record.getClass().getRecordComponents()) {
            String name = prefix + component.getName().replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
            Object value;
            try {
                value = component.getAccessor().invoke(record);
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException("Records can be read", e);
            }
            if (value instanceof Optional<?> optional) {
                optional.ifPresent(present -> settings.put(name, present.toString()));
            } else if (value instanceof Record inner) {
                describe(inner, name + "_", settings);
            } else if (value instanceof Enum<?> constant) {
                settings.put(name, Choices.word(constant));
            } else if (value instanceof Set<?> constants) {
                // an empty one says nothing, and was not there before
                if (!constants.isEmpty()) {
                    settings.put(name, constants.stream()
                            .map(constant -> constant instanceof Enum<?> word ? Choices.word(word) : constant.toString()).sorted()
                            .collect(Collectors.joining(" ")));
                }
            } else {
                settings.put(name, value instanceof Number || value instanceof Boolean ? value : value.toString());
            }
        }
    }
}
