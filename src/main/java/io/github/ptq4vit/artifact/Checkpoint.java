package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
        Manifest manifest = complete(folder);
        try (CheckedTensors file = CheckedTensors.open(folder.resolve(TENSORS))) {
            Map<String, Shape> floats = manifest.config().unquantizedTensors();
            manifest.floatWeights().forEach(layer -> floats.put(layer.name() + ".weight", layer.weight().orElseThrow()));
            Map<String, Tensor> tensors = file.floats(floats);
            List<QuantizedLayer> layers = LayerTensors.withCodes(file, manifest.config(), manifest.layers());
            file.done();
            VisionTransformer model = new VisionTransformer(manifest.config(), tensors, file.metadata());
            return new Checkpoint(new QuantizedModel(model, layers), manifest.transform(), manifest.provenance());
        }
    }

    private static Manifest complete(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new ArtifactException(folder + ": there is no such folder");
        }
        Manifest manifest = ManifestJson.read(folder);
        if (!manifest.complete()) {
            throw new ArtifactException(folder + ": is incomplete, " + manifest.extent()
                    + " are calibrated; continue its calibration with --resume");
        }
        return manifest;
    }

    /**
     * How the quantisers of a folder's layers were chosen, in network order; empty if that was not recorded, as in folders of older
     * versions.
     *
     * @throws ArtifactException if the folder is no complete quantised checkpoint, or its record is damaged or another checkpoint's
     */
    public static List<LayerRecord> records(Path folder) {
        Path file = folder.resolve(RecordJson.FILE);
        Manifest manifest = complete(folder);
        return Files.exists(file) ? new RecordJson(manifest.config()).read(file, Fingerprints.ofFiles(List.of(folder.resolve(ManifestJson.FILE))))
                : List.of();
    }

    /** Architecture, transform and the scales of every layer as JSON, in the words of the manifest. */
    public byte[] scalesJson() {
        return ManifestJson.scales(this);
    }
}
