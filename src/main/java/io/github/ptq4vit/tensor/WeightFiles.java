package io.github.ptq4vit.tensor;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Finds and opens files of weights: safetensors, shards with an index, PyTorch's .pth and .bin, or a folder with one. */
public final class WeightFiles {
    /** What weights in a folder are called; the first that is there counts. */
    public static final List<String> NAMES = List.of("model.safetensors", "model.safetensors.index.json",
            "pytorch_model.bin", "pytorch_model.bin.index.json");
    /** Ending of an index of several files. */
    static final String INDEX = ".index.json";

    private WeightFiles() {
    }

    /**
     * The file of weights that a path means.
     *
     * @param path the file itself, or its folder
     * @throws TensorFileException if a folder has none
     */
    public static Path resolve(Path path) {
        if (!Files.isDirectory(path)) {
            return path;
        }
        return NAMES.stream().map(path::resolve).filter(Files::exists).findFirst().orElseThrow(() ->
                new TensorFileException(path + ": has no weights; expected is one of " + String.join(", ", NAMES)));
    }

    /**
     * Opens a file, or the one in a folder.
     *
     * @throws TensorFileException if there is none, or it is damaged or of another kind
     */
    public static TensorSource open(Path path) {
        Path file = resolve(path);
        String name = file.getFileName().toString();
        if (name.endsWith(INDEX)) {
            return ShardedTensors.open(file);
        }
        return name.endsWith(".safetensors") || !isTorch(file) ? SafetensorsFile.open(file) : TorchFile.open(file);
    }

    /** Whether a file is a zip archive or a pickle. */
    private static boolean isTorch(Path file) {
        if (!Files.isRegularFile(file)) {
            return false;
        }
        try (InputStream stream = Files.newInputStream(file)) {
            byte[] start = stream.readNBytes(2);
            return start.length == 2 && (start[0] == 'P' && start[1] == 'K' || start[0] == (byte) 0x80 && start[1] <= 5);
        } catch (IOException e) {
            throw new TensorFileException(file + ": cannot be read (" + SafetensorsFile.reason(e) + ")", e);
        }
    }
}
