package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.TensorFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Writes a checkpoint unit by unit (embedding, blocks, head). Order on disk: a unit's part, then the manifest that lists
 * it; at the end {@code model.safetensors}, then the manifest that says complete, then the parts go. A kill between any two
 * steps leaves a folder that can be continued and ends with the same bytes.
 *
 * <pre>{@code
 * CheckpointWriter writer = CheckpointWriter.open(folder, Existing.RESUME, model, transform, provenance);
 * Calibrator.of(model).on(backend).resume(writer.finished()).onUnit(writer::unit).run(images);
 * writer.finish();
 * }</pre>
 */
public final class CheckpointWriter {
    private static final String PARTS = "parts";
    /** The part with the transformed float32 network. */
    private static final String NETWORK = "network";

    private final Path folder;
    private final Path parts;
    private VisionTransformer model;
    private final Disk disk;
    private final boolean madeFolder;
    private Manifest manifest;

    private CheckpointWriter(Path folder, VisionTransformer model, Manifest manifest, Disk disk, boolean madeFolder) {
        this.folder = folder;
        this.parts = folder.resolve(PARTS);
        this.model = model;
        this.manifest = manifest;
        this.disk = disk;
        this.madeFolder = madeFolder;
    }

    /**
     * Starts a checkpoint, or continues one.
     *
     * @param existing what to do if the folder is there already
     * @param model the float32 model
     * @param transform how images become the model's input, as text
     * @throws ArtifactException if the folder must not be written to, cannot be written to, or holds an interrupted
     *     calibration of something else
     */
    public static CheckpointWriter open(Path folder, Existing existing, VisionTransformer model, String transform,
            Provenance provenance) {
        return open(folder, existing, model, transform, provenance, new Disk());
    }

    static CheckpointWriter open(Path folder, Existing existing, VisionTransformer model, String transform,
            Provenance provenance, Disk disk) {
        OutputFolder state = OutputFolder.inspect(folder, existing);
        if (state == OutputFolder.COMPLETE) {
            throw new ArtifactException(folder + ": is complete, there is nothing to continue");
        }
        Manifest manifest = new Manifest(model.config(), transform, provenance, false, Map.of());
        boolean fresh = !Files.exists(folder);
        if (state == OutputFolder.INTERRUPTED) {
            Manifest earlier = ManifestJson.read(folder);
            ResumeCheck.same(folder, earlier, manifest);
            Provenance both = earlier.units().isEmpty() ? provenance : provenance.after(earlier.provenance());
            manifest = new Manifest(model.config(), transform, both, false, earlier.units());
        }
        CheckpointWriter writer = new CheckpointWriter(folder, model, manifest, disk, fresh);
        try {
            disk.makeFolder(folder);
            writer.writeManifest();
            if (state != OutputFolder.INTERRUPTED) {
                disk.delete(writer.part(NETWORK));
            }
            writer.tidy();
            disk.makeFolder(writer.parts);
        } catch (ArtifactException e) {
            writer.abandon();
            throw e;
        }
        return writer;
    }

    /**
     * The units that are finished, with their codes.
     *
     * @throws TensorFileException if a part is damaged
     */
    public Map<String, List<QuantizedLayer>> finished() {
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        manifest.units().forEach((unit, layers) -> {
            try (SafetensorsFile file = SafetensorsFile.open(part(unit))) {
                units.put(unit, LayerTensors.withCodes(file, manifest.config(), layers));
            }
        });
        return units;
    }

    /**
     * The float32 network that an interrupted calibration quantises, if that is another than the model.
     *
     * @throws TensorFileException if the part is damaged
     */
    public Optional<VisionTransformer> network() {
        if (!Files.exists(part(NETWORK))) {
            return Optional.empty();
        }
        try (SafetensorsFile file = SafetensorsFile.open(part(NETWORK))) {
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            file.names().forEach(name -> tensors.put(name, file.read(name)));
            model = new VisionTransformer(model.config(), tensors, model.metadata());
        }
        return Optional.of(model);
    }

    /** Keeps the float32 network that is quantised instead of the model; when this returns it is safe. */
    public void network(VisionTransformer transformed) {
        SafetensorsWriter file = new SafetensorsWriter();
        new TreeMap<>(transformed.tensors()).forEach(file::add);
        disk.write(part(NETWORK), file);
        model = transformed;
    }

    /** How far it is, in words: {@code 5 of 14 units}. */
    public String extent() {
        return manifest.extent();
    }

    /**
     * Writes a finished unit; when this returns it is safe. One that is there already is left as it is.
     *
     * @param unit its name: {@code embedding}, {@code blocks.3}, {@code head}
     * @param layers its layers
     */
    public void unit(String unit, List<QuantizedLayer> layers) {
        if (manifest.units().containsKey(unit)) {
            return;
        }
        Manifest next = manifest.with(unit, layers);
        Map<String, QuantizedLayer> byName = layers.stream().collect(Collectors.toMap(QuantizedLayer::name, l -> l));
        SafetensorsWriter file = new SafetensorsWriter();
        LayerTensors.add(file, manifest.config(), next.units().get(unit).stream().map(l -> byName.get(l.name())).toList());
        disk.write(part(unit), file);
        manifest = next;
        writeManifest();
    }

    /**
     * Makes the checkpoint complete.
     *
     * @throws IllegalStateException if layers are missing
     */
    public void finish() {
        List<QuantizedLayer> layers = finished().values().stream().flatMap(List::stream).toList();
        new QuantizedModel(model, layers);
        SafetensorsWriter file = new SafetensorsWriter();
        model.metadata().forEach(file::metadata);
        Map<String, Layer> quantized = LayerTensors.byName(model.config());
        new TreeMap<>(model.tensors()).forEach((name, tensor) -> {
            if (!name.endsWith(".weight") || !quantized.containsKey(name.substring(0, name.lastIndexOf('.')))) {
                file.add(name, tensor);
            }
        });
        LayerTensors.add(file, model.config(), layers);
        disk.write(folder.resolve(Checkpoint.TENSORS), file);
        manifest = manifest.completed();
        writeManifest();
        tidy();
    }

    /**
     * After a failure: takes back what was begun, unless there is something to continue. Throws nothing.
     *
     * @return whether there is something to continue
     */
    public boolean abandon() {
        if (madeFolder && manifest.units().isEmpty()) {
            try {
                for (Path path : List.of(part(NETWORK), parts, folder.resolve(ManifestJson.FILE), folder)) {
                    Files.deleteIfExists(path);
                }
            } catch (IOException e) {
                // the failure that led here is the one to tell
                return false;
            }
        }
        return !manifest.units().isEmpty();
    }

    private Path part(String unit) {
        return parts.resolve(partName(unit));
    }

    private void writeManifest() {
        disk.write(folder.resolve(ManifestJson.FILE), ManifestJson.write(manifest));
    }

    private void tidy() {
        tidy(folder, manifest, disk);
    }

    /** Removes what a kill in the very last step may have left beside a complete checkpoint. */
    public static void tidy(Path complete) {
        tidy(complete, ManifestJson.read(complete), new Disk());
    }

    /** Removes what the manifest does not speak of: parts, temporary files, the tensors of a replaced checkpoint. */
    private static void tidy(Path folder, Manifest manifest, Disk disk) {
        Path parts = folder.resolve(PARTS);
        List<Path> stale = new ArrayList<>();
        if (!manifest.complete()) {
            stale.add(folder.resolve(Checkpoint.TENSORS));
        }
        stale.add(folder.resolve(ManifestJson.FILE + Disk.TEMPORARY));
        stale.add(folder.resolve(Checkpoint.TENSORS + Disk.TEMPORARY));
        if (Files.isDirectory(parts)) {
            Set<String> kept = new HashSet<>(manifest.complete() ? Set.of() : manifest.units().keySet());
            if (!manifest.complete()) {
                kept.add(NETWORK);
            }
            try (Stream<Path> entries = Files.list(parts)) {
                entries.sorted().filter(p -> kept.stream().noneMatch(unit -> p.endsWith(partName(unit))))
                        .forEach(stale::add);
            } catch (IOException e) {
                throw new ArtifactException(parts + ": cannot be listed (" + Disk.reason(e) + ")", e);
            }
        }
        if (manifest.complete()) {
            stale.add(parts);
        }
        stale.forEach(disk::delete);
    }

    private static String partName(String unit) {
        return unit + ".safetensors";
    }
}
