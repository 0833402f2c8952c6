package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.LayerRecord;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Writes a checkpoint unit by unit (embedding, blocks, head). Order on disk: a unit's part, then the manifest that lists
 * it; at the end {@code model.safetensors}, then the manifest that says complete, then the parts go. A kill between any two
 * steps leaves a folder that can be continued and ends with the same bytes.
 *
 * <pre>{@code
 * try (OutputFolder out = OutputFolder.open(folder, Existing.RESUME)) {
 *     CheckpointWriter writer = CheckpointWriter.open(out, model, transform, provenance);
 *     Calibrator.of(model).on(backend).resume(writer.finished()).records(writer.records()).onRecord(writer::record)
 *             .onUnit(writer::unit).run(images);
 *     writer.finish();
 * }
 * }</pre>
 */
public final class CheckpointWriter {
    private final OutputFolder out;
    private final Path folder;
    private final Parts parts;
    private final RecordJson recordJson;
    /** By layer. */
    private final Map<String, LayerRecord> records = new HashMap<>();
    private VisionTransformer model;
    private final Disk disk;
    private Manifest manifest;

    private CheckpointWriter(OutputFolder out, VisionTransformer model, Manifest manifest, Disk disk) {
        this.out = out;
        this.folder = out.path();
        this.parts = new Parts(folder);
        this.recordJson = new RecordJson(manifest.config());
        this.model = model;
        this.manifest = manifest;
        this.disk = disk;
    }

    /**
     * Starts a checkpoint, or continues one.
     *
     * @param out where; stays the caller's, who closes it after {@link #finish} or {@link #abandon}
     * @param model the float32 model
     * @param transform how images become the model's input, as text
     * @throws ArtifactException if the folder cannot be written to, or holds a complete checkpoint or an interrupted calibration
     *     of something else
     */
    public static CheckpointWriter open(OutputFolder out, VisionTransformer model, String transform, Provenance provenance) {
        return open(out, model, transform, provenance, new Disk());
    }

    static CheckpointWriter open(OutputFolder out, VisionTransformer model, String transform, Provenance provenance, Disk disk) {
        if (out.state() == OutputFolder.State.COMPLETE) {
            throw new ArtifactException(out.path() + ": is complete, there is nothing to continue");
        }
        Parts parts = new Parts(out.path());
        if (Files.isSymbolicLink(parts.folder())) {
            throw new ArtifactException(parts.folder() + ": is a link, which is not followed; remove it");
        }
        boolean interrupted = out.state() == OutputFolder.State.INTERRUPTED;
        Manifest manifest = new Manifest(model.config(), transform, provenance, false, Map.of(), Map.of());
        if (interrupted) {
            Manifest earlier = ManifestJson.read(out.path());
            ResumeCheck.same(out.path(), earlier, manifest);
            if (!earlier.digests().keySet().containsAll(earlier.units().keySet())) {
                throw new ArtifactException(out.path().resolve(ManifestJson.FILE) + ": has no digests of the parts, as older versions"
                        + " wrote it, so they cannot be checked; start anew with --force");
            }
            Provenance both = earlier.units().isEmpty() ? provenance : provenance.after(earlier.provenance());
            manifest = new Manifest(model.config(), transform, both, false, earlier.units(), earlier.digests());
        }
        CheckpointWriter writer = new CheckpointWriter(out, model, manifest, disk);
        try {
            writer.writeManifest();
            parts.tidy(manifest, disk);
            disk.makeFolder(parts.folder());
        } catch (ArtifactException e) {
            writer.abandon();
            throw e;
        }
        return writer;
    }

    /**
     * The units that are finished, with their codes.
     *
     * @throws ArtifactException if a part is not what the manifest says
     * @throws io.github.ptq4vit.tensor.TensorFileException if a part cannot be read
     */
    public Map<String, List<QuantizedLayer>> finished() {
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        manifest.units().forEach((unit, layers) -> {
            try (CheckedTensors file = checked(unit)) {
                units.put(unit, LayerTensors.withCodes(file, manifest.config(), layers));
                file.done();
            }
        });
        return units;
    }

    /**
     * The float32 network that an interrupted calibration quantises, if that is another than the model.
     *
     * @throws ArtifactException if the part with it is not what the manifest says
     * @throws io.github.ptq4vit.tensor.TensorFileException if it cannot be read
     */
    public Optional<VisionTransformer> network() {
        if (!manifest.digests().containsKey(Manifest.NETWORK)) {
            return Optional.empty();
        }
        try (CheckedTensors file = checked(Manifest.NETWORK)) {
            Map<String, Tensor> tensors = file.floats(model.config().tensors());
            file.done();
            model = new VisionTransformer(model.config(), tensors, model.metadata());
        }
        return Optional.of(model);
    }

    /** A part, after a look whether it is the very file that was written. */
    private CheckedTensors checked(String name) {
        Path part = parts.tensors(name);
        String expected = manifest.digests().get(name);
        String found = Fingerprints.ofFiles(List.of(part));
        if (!found.equals(expected)) {
            throw new ArtifactException(part + ": is damaged: expected is SHA-256 " + expected + " as in " + ManifestJson.FILE
                    + ", found is " + found + "; start anew with --force");
        }
        return CheckedTensors.open(part);
    }

    /** Keeps the float32 network that is quantised instead of the model; when this returns it is safe. */
    public void network(VisionTransformer transformed) {
        SafetensorsWriter file = new SafetensorsWriter();
        new TreeMap<>(transformed.tensors()).forEach(file::add);
        manifest = manifest.withDigest(Manifest.NETWORK, write(Manifest.NETWORK, file));
        writeManifest();
        model = transformed;
    }

    /** Writes a part and returns its digest. */
    private String write(String name, SafetensorsWriter file) {
        out.lock().requireHeld();
        disk.write(parts.tensors(name), file);
        return Fingerprints.ofFiles(List.of(parts.tensors(name)));
    }

    /** How far it is, in words: {@code 5 of 14 units}. */
    public String extent() {
        return manifest.extent();
    }

    /** Takes the record of a layer, which is written together with its unit. */
    public void record(LayerRecord record) {
        records.put(record.layer(), record);
    }

    /**
     * The records of the layers of the finished units, as far as there are any: older versions wrote none.
     *
     * @throws ArtifactException if one is damaged, or of another part
     */
    public List<LayerRecord> records() {
        return manifest.units().keySet().stream().filter(unit -> Files.exists(parts.record(unit)))
                .flatMap(unit -> recordJson.read(parts.record(unit), manifest.digests().get(unit)).stream()).toList();
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
        List<String> order = manifest.config().layers().stream().map(Layer::name).toList();
        SafetensorsWriter file = new SafetensorsWriter();
        LayerTensors.add(file, manifest.config(), layers.stream().sorted(Comparator.comparing(layer -> order.indexOf(layer.name()))).toList());
        String digest = write(unit, file);
        List<LayerRecord> own = layers.stream().map(QuantizedLayer::name).filter(records::containsKey).map(records::get).toList();
        if (!own.isEmpty()) {
            disk.write(parts.record(unit), recordJson.write(digest, own));
        }
        manifest = manifest.with(unit, layers, digest);
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
        Set<String> codes = layers.stream().filter(layer -> layer.weightCodes().length > 0).map(layer -> layer.name() + ".weight")
                .collect(Collectors.toSet());
        new TreeMap<>(model.tensors()).forEach((name, tensor) -> {
            if (!codes.contains(name)) {
                file.add(name, tensor);
            }
        });
        LayerTensors.add(file, model.config(), layers);
        disk.write(folder.resolve(Checkpoint.TENSORS), file);
        Manifest completed = manifest.completed();
        List<LayerRecord> all = records();
        if (!all.isEmpty()) {
            disk.write(folder.resolve(RecordJson.FILE), recordJson.write(Fingerprints.ofBytes(ManifestJson.write(completed)), all));
        }
        manifest = completed;
        writeManifest();
        parts.tidy(manifest, disk);
    }

    /**
     * After a failure: takes back what was begun, unless there is something to continue. Throws nothing.
     *
     * @return whether there is something to continue
     */
    public boolean abandon() {
        if (out.lock().madeFolder() && manifest.units().isEmpty()) {
            withdraw();
        }
        return !manifest.units().isEmpty();
    }

    /** Takes back everything, finished units too, because they are not what they should be. Throws nothing. */
    public void discard() {
        manifest = manifest.withoutParts();
        try {
            writeManifest();
            parts.tidy(manifest, disk);
        } catch (ArtifactException e) {
            // the failure that led here is the one to tell
            return;
        }
        abandon();
    }

    private void withdraw() {
        try {
            parts.tidy(manifest.withoutParts(), disk);
            disk.delete(parts.folder());
            disk.delete(folder.resolve(ManifestJson.FILE));
        } catch (ArtifactException e) {
            // the failure that led here is the one to tell
            return;
        }
    }

    private void writeManifest() {
        out.lock().requireHeld();
        disk.write(folder.resolve(ManifestJson.FILE), ManifestJson.write(manifest));
    }
}
