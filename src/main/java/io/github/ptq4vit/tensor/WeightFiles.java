package io.github.ptq4vit.tensor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Finds and opens files of weights: safetensors, shards with an index, what PyTorch saves, or a folder with one of these. A
 * file is what its content says, whatever its name.
 */
public final class WeightFiles {
    /** What weights in a folder are called; the first that is there counts. */
    public static final List<String> NAMES = List.of("model.safetensors", "model.safetensors.index.json",
            "pytorch_model.bin", "pytorch_model.bin.index.json");
    /** Endings of the names of files of weights. */
    private static final List<String> ENDINGS = List.of(".safetensors", ".pth.tar", ".pth", ".pt", ".ckpt", ".bin", ".tar");
    /** What training scripts put beside the weights. */
    private static final List<String> OTHERS = List.of("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states");
    /** Ending of an index of several files. */
    static final String INDEX = ".index.json";
    private static final int LISTED = 6;

    private WeightFiles() {
    }

    /**
     * The file of weights that a path means.
     *
     * @param path the file itself, or its folder: one of {@link #NAMES}, else the only file in it whose name ends like those of
     *     weights
     * @throws TensorFileException if a folder has none, or several
     */
    public static Path resolve(Path path) {
        if (!Files.isDirectory(path)) {
            return path;
        }
        Optional<Path> usual = NAMES.stream().map(path::resolve).filter(Files::exists).findFirst();
        if (usual.isPresent()) {
            return usual.get();
        }
        List<Path> others;
        try (Stream<Path> all = Files.list(path)) {
            others = all.filter(Files::isRegularFile).filter(file -> isWeights(file.getFileName().toString())).sorted().toList();
        } catch (IOException e) {
            throw new TensorFileException(path + ": cannot be listed (" + SafetensorsFile.reason(e) + ")", e);
        }
        if (others.isEmpty()) {
            throw new TensorFileException(path + ": has no weights; expected is one of " + String.join(", ", NAMES)
                    + ", or one file ending in " + String.join(", ", ENDINGS));
        }
        if (others.size() > 1) {
            throw new TensorFileException(path + ": has several files of weights, say which one: " + String.join(", ",
                    others.stream().limit(LISTED).map(file -> file.getFileName().toString()).toList())
                    + (others.size() > LISTED ? " and " + (others.size() - LISTED) + " more" : ""));
        }
        return others.get(0);
    }

    private static boolean isWeights(String name) {
        String plain = name.toLowerCase(Locale.ROOT);
        return !plain.startsWith(".") && ENDINGS.stream().anyMatch(plain::endsWith) && OTHERS.stream().noneMatch(plain::startsWith);
    }

    /** A file's name without the endings that say that it holds weights. */
    public static String withoutEnding(String name) {
        return ENDINGS.stream().filter(ending -> name.toLowerCase(Locale.ROOT).endsWith(ending) && name.length() > ending.length())
                .findFirst().map(ending -> name.substring(0, name.length() - ending.length())).orElse(name);
    }

    /**
     * All files that hold the weights, without reading them but for an index.
     *
     * @throws TensorFileException as {@link #open}
     */
    public static List<Path> files(Path path) {
        Path file = resolve(path);
        if (!isIndex(file)) {
            return List.of(file);
        }
        try (TensorSource shards = ShardedTensors.open(file)) {
            return shards.files();
        }
    }

    private static boolean isIndex(Path file) {
        return file.getFileName() != null && file.getFileName().toString().endsWith(INDEX);
    }

    /**
     * Opens a file, or the one in a folder.
     *
     * @throws TensorFileException if there is none, or it is damaged or of another kind
     */
    public static TensorSource open(Path path) {
        Path file = resolve(path);
        if (isIndex(file)) {
            return ShardedTensors.open(file);
        }
        return FileKind.of(file) == FileKind.TORCH ? TorchFile.open(file) : SafetensorsFile.open(file);
    }
}
