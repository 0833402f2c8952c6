package io.github.ptq4vit.export;

import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.SwinConfig;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.WholeFile;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A quantised model for those who calculate in floating point: {@code model.safetensors} with the numbers that the weights'
 * codes stand for, float32 under the names of timm 0.9 and later, and {@code scales.json} with everything that is needed to
 * quantise the activations as well.
 */
public final class DequantizedWeights {
    /** Name of the file with the weights. */
    public static final String WEIGHTS = "model.safetensors";
    /** Name of the file with the scales. */
    public static final String SCALES = "scales.json";
    private static final Pattern MERGING = Pattern.compile("layers\\.(\\d+)\\.(downsample\\..*)");

    private DequantizedWeights() {
    }

    /**
     * Writes a new folder, beside and then renamed.
     *
     * @throws ExportException if it cannot be written
     */
    public static void write(Checkpoint checkpoint, Path folder) {
        Path temporary = folder.resolveSibling(folder.getFileName() + WholeFile.TEMPORARY);
        try {
            try {
                clear(temporary);
                Files.createDirectory(temporary);
                weights(checkpoint).write(temporary.resolve(WEIGHTS));
                OutputFile.write(temporary.resolve(SCALES), out -> out.write(checkpoint.scalesJson()));
                Files.move(temporary, folder, StandardCopyOption.ATOMIC_MOVE);
                WholeFile.sync(folder.toAbsolutePath().getParent());
            } finally {
                clear(temporary);
            }
        } catch (IOException e) {
            throw OutputFile.notWritten(folder, e);
        }
    }

    /** Removes what this or a killed export has begun. */
    private static void clear(Path temporary) throws IOException {
        if (!Files.isDirectory(temporary, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        Set<Path> own = Stream.of(WEIGHTS, SCALES, WEIGHTS + WholeFile.TEMPORARY, SCALES + WholeFile.TEMPORARY)
                .map(temporary::resolve).collect(Collectors.toSet());
        try (Stream<Path> found = Files.list(temporary)) {
            if (!own.containsAll(found.toList())) {
                throw new FileSystemException(temporary.toString(), null, temporary + " is in the way and holds other things");
            }
        }
        for (Path file : own) {
            Files.deleteIfExists(file);
        }
        Files.delete(temporary);
    }

    private static SafetensorsWriter weights(Checkpoint checkpoint) {
        VisionTransformer model = checkpoint.model().model();
        Architecture config = model.config();
        Map<String, Tensor> tensors = new TreeMap<>();
        config.unquantizedTensors().keySet().stream().filter(model.tensors()::containsKey)
                .forEach(name -> tensors.put(timmName(config, name), model.tensor(name)));
        Map<String, QuantizedLayer> quantized = checkpoint.model().byName();
        for (Layer layer : config.layers()) {
            layer.weight().ifPresent(shape -> tensors.put(timmName(config, layer.name() + ".weight"),
                    Tensor.of(shape, quantized.get(layer.name()).dequantizedWeight(layer.outputs()))));
        }
        SafetensorsWriter file = new SafetensorsWriter();
        model.metadata().forEach(file::metadata);
        tensors.forEach(file::add);
        return file;
    }

    /** This library names as timm 0.4 did; of Swin two names have changed since. */
    private static String timmName(Architecture config, String name) {
        if (!(config instanceof SwinConfig)) {
            return name;
        }
        Matcher merging = MERGING.matcher(name);
        return merging.matches() ? "layers." + (Integer.parseInt(merging.group(1)) + 1) + "." + merging.group(2)
                : name.replaceFirst("^head\\.", "head.fc.");
    }
}
