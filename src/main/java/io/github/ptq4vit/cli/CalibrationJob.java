package io.github.ptq4vit.cli;

import io.github.ptq4vit.artifact.CheckpointWriter;
import io.github.ptq4vit.artifact.Existing;
import io.github.ptq4vit.artifact.Fingerprints;
import io.github.ptq4vit.artifact.Provenance;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.calibrate.CalibrationConfig;
import io.github.ptq4vit.calibrate.CalibrationImages;
import io.github.ptq4vit.calibrate.CalibrationResult;
import io.github.ptq4vit.calibrate.Calibrator;
import io.github.ptq4vit.image.Batch;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.ImageLoader;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.tensor.TensorSource;
import io.github.ptq4vit.tensor.WeightFiles;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** A calibration that ends in a folder. */
final class CalibrationJob {
    private final ModelSource.Plain model;
    private final ImageTransform transform;
    private final CalibrationImages images;
    private final String weightsHash;

    private CalibrationJob(ModelSource.Plain model, ImageTransform transform, CalibrationImages images) {
        this.model = model;
        this.transform = transform;
        this.images = images;
        try (TensorSource file = WeightFiles.open(model.file())) {
            this.weightsHash = Fingerprints.ofFiles(file.files());
        }
    }

    /** Loads the images: the first {@code count} readable ones in the order that the seed gives. */
    static CalibrationJob prepare(ModelSource.Plain model, ImageTransform transform, Path folder, int count, long seed,
            int decoders) {
        ImageFolder images = ImageFolder.open(folder);
        try (ImageLoader loader = ImageLoader.first(count, images, images.shuffled(seed), transform, count, decoders)) {
            Batch batch = loader.next();
            if (!loader.skipped().isEmpty()) {
                Console.note(loader.skipped().size() + " damaged images were left out and replaced by others");
            }
            return new CalibrationJob(model, transform, new CalibrationImages(batch.ids(), batch.pixels()));
        }
    }

    /** Calibrates and writes; after a failure nothing is left that cannot be continued. */
    CalibrationResult run(Backend backend, CalibrationConfig config, Path out, Existing existing) {
        CheckpointWriter writer = CheckpointWriter.open(out, existing, model.model(), transform.toString(),
                provenance(config, backend.device()));
        try (Bar bar = new Bar("calibrate", model.config().layers().size())) {
            CalibrationResult result = Calibrator.of(model.model()).on(backend).config(config).resume(writer.finished())
                    .onUnit(writer::unit).progress((step, done, total) -> bar.to(done, total, step)).run(images);
            writer.finish();
            return result;
        } catch (RuntimeException | Error e) {
            if (writer.abandon()) {
                Console.note("kept: " + out + ", " + writer.extent() + "; --resume continues");
            }
            throw e;
        }
    }

    private Provenance provenance(CalibrationConfig config, DeviceInfo device) {
        Map<String, String> versions = new LinkedHashMap<>();
        versions.put(Provenance.TOOL, Main.Version.text());
        versions.put("java", System.getProperty("java.version"));
        versions.put("backend", device.backend());
        versions.put("device", device.device());
        Map<String, Object> settings = new LinkedHashMap<>();
        describe(config, "", settings);
        settings.remove("seed");
        return new Provenance(settings, config.seed(), images.ids(), Fingerprints.ofIds(images.ids()),
                Fingerprints.ofPixels(images.pixels()), weightsHash, versions);
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
            if (value instanceof Record inner) {
                describe(inner, name + "_", settings);
            } else if (value instanceof Enum<?> constant) {
                settings.put(name, Choices.word(constant));
            } else {
                settings.put(name, value instanceof Number || value instanceof Boolean ? value : value.toString());
            }
        }
    }
}
