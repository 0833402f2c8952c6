package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A quantised checkpoint as read from its folder, which is all that it needs.
 *
 * @param model what is calculated with
 * @param transform how images become the model's input, as the text that was given when it was written
 * @param provenance where it comes from
 */
public record Checkpoint(QuantizedModel model, String transform, Provenance provenance) {
    static final String TENSORS = "model.safetensors";

    /** Whether a folder is a quantised checkpoint, complete or not. */
    public static boolean isCheckpoint(Path folder) {
        return Files.isDirectory(folder) && ManifestJson.isOurs(folder);
    }

    /**
     * Reads a folder.
     *
     * @throws ArtifactException if it is no quantised checkpoint, is damaged, or its calibration was interrupted
     * @throws io.github.ptq4vit.tensor.TensorFileException if its tensors cannot be read
     */
    public static Checkpoint read(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new ArtifactException(folder + ": there is no such folder");
        }
        Manifest manifest = ManifestJson.read(folder);
        if (!manifest.complete()) {
            throw new ArtifactException(folder + ": is incomplete, " + manifest.extent()
                    + " are calibrated; continue its calibration with --resume");
        }
        try (SafetensorsFile file = SafetensorsFile.open(folder.resolve(TENSORS))) {
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            manifest.config().unquantizedTensors().forEach((name, shape) -> {
                if (file.contains(name) || !Architecture.isOptional(name)) {
                    tensors.put(name, read(file, name, shape));
                }
            });
            VisionTransformer model = new VisionTransformer(manifest.config(), tensors, file.metadata());
            return new Checkpoint(new QuantizedModel(model, LayerTensors.withCodes(file, manifest.config(),
                    manifest.layers())), manifest.transform(), manifest.provenance());
        }
    }

    /** Architecture, transform and the scales of every layer as JSON, in the words of the manifest. */
    public byte[] scalesJson() {
        return ManifestJson.scales(this);
    }

    private static Tensor read(SafetensorsFile file, String name, Shape shape) {
        if (!file.info(name).shape().equals(shape)) {
            throw new ArtifactException(file.path() + ": tensor " + name + " has shape " + file.info(name).shape()
                    + ", expected " + shape);
        }
        return file.read(name);
    }
}
