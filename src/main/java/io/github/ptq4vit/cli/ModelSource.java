package io.github.ptq4vit.cli;

import io.github.ptq4vit.artifact.ArtifactException;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.inference.Classifier;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.ReadOptions;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.WeightFiles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** What {@code --model} names: float32 weights (a file or its folder), or the folder of a quantised checkpoint. */
sealed interface ModelSource {
    /** For people. */
    String name();

    /** The architecture. */
    Architecture config();

    /** How images become its input. */
    ImageTransform transform();

    /** Brings it to a device. */
    Classifier on(Backend backend);

    /**
     * Weights in float32.
     *
     * @param options what was said about it
     */
    record Plain(String name, Path file, VisionTransformer model, ReadOptions options) implements ModelSource {
        @Override
        public Architecture config() {
            return model.config();
        }

        /** Which model of the paper it is: as it was said, else if architecture and name leave no doubt. */
        Optional<KnownModel> paperModel() {
            return options.known().or(() -> KnownModel.like(model.config(), name));
        }

        @Override
        public ImageTransform transform() {
            return ModelTransform.of(model, file, options.known());
        }

        @Override
        public Classifier on(Backend backend) {
            return Classifier.of(backend, model);
        }
    }

    /** A quantised checkpoint. */
    record Quantized(String name, Path folder, Checkpoint checkpoint) implements ModelSource {
        @Override
        public Architecture config() {
            return checkpoint.model().model().config();
        }

        @Override
        public ImageTransform transform() {
            try {
                return ImageTransform.timm(config().imageSize(), 1, ImageTransform.HALF, ImageTransform.HALF)
                        .with(checkpoint.transform());
            } catch (IllegalArgumentException e) {
                throw new ArtifactException(folder + ": the image transform of its manifest is damaged: " + e.getMessage(), e);
            }
        }

        @Override
        public Classifier on(Backend backend) {
            return Classifier.of(backend, checkpoint.model());
        }
    }

    /** Reads whichever it is. */
    static ModelSource read(Path path, ReadOptions options) {
        Path folder = insideCheckpoint(path) ? path.toAbsolutePath().getParent() : path;
        if (!Checkpoint.isCheckpoint(folder)) {
            return plain(path, options);
        }
        Quantized quantized = new Quantized(name(folder), folder, Checkpoint.read(folder));
        int size = quantized.config().imageSize();
        if (options.imageSize().orElse(size) != size) {
            throw new ModelException(folder + ": was quantised for images of " + size + " pixels, not "
                    + options.imageSize().getAsInt() + "; quantise the model again with --image-size");
        }
        return quantized;
    }

    /** Reads float32 weights. */
    static Plain plain(Path path, ReadOptions options) {
        if (Checkpoint.isCheckpoint(path) || insideCheckpoint(path)) {
            throw new ModelException(path + ": is quantised already; give the model in float32");
        }
        Path file = WeightFiles.resolve(path);
        return new Plain(name(path), file, ModelReader.read(file, options, note -> Console.note(file + ": " + note)), options);
    }

    private static boolean insideCheckpoint(Path path) {
        return Files.isRegularFile(path) && Checkpoint.isCheckpoint(path.toAbsolutePath().getParent());
    }

    /** A name for a model at this path: the file's, or its folder's where the file's says nothing. */
    static String name(Path path) {
        Path absolute = path.toAbsolutePath().normalize();
        Path last = WeightFiles.NAMES.stream().anyMatch(absolute::endsWith) ? absolute.getParent() : absolute;
        String name = last.getFileName() == null ? "model" : last.getFileName().toString();
        return WeightFiles.withoutEnding(name);
    }
}
