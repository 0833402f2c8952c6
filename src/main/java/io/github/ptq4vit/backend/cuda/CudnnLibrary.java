package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/** Loads cuDNN 9 and JCuda's native library above it, once for the process, and only if somebody asks. */
final class CudnnLibrary {
    private static final String FILE = "libcudnn.so.9";

    /**
     * What cuDNN consists of; each needs some of those before it. It looks for them when a call wants them, by the linker's
     * rules, and ends the process if one is not found: so all are looked for first, and loaded from where cuDNN itself lies.
     */
    private static final List<String> PARTS = List.of("libcudnn_graph.so.9", "libcudnn_engines_runtime_compiled.so.9",
            "libcudnn_engines_precompiled.so.9", "libcudnn_heuristic.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9",
            "libcudnn_adv.so.9");

    /**
     * What came of it.
     *
     * @param file that is loaded, absent if there is none that works
     * @param reasons one sentence for each thing that is missing
     */
    record Found(Optional<Path> file, List<String> reasons) {
        Found {
            reasons = List.copyOf(reasons);
        }

        private static Found none(String... reasons) {
            return new Found(Optional.empty(), List.of(reasons));
        }
    }

    private CudnnLibrary() {
    }

    /** What is loaded, after the first call has tried it. Never throws because something is missing. */
    static Found load() {
        return Holder.FOUND;
    }

    /**
     * Loads it or says why that cannot be.
     *
     * @throws BackendException with all reasons
     */
    static void require() {
        if (load().file().isEmpty()) {
            throw new BackendException("cuDNN cannot be used here: " + String.join("; ", load().reasons())
                    + "; or leave --cudnn out");
        }
    }

    private static Found find() {
        CudaInstallation cuda = CudaLibraries.load();
        if (!cuda.hasDriver()) {
            return new Found(Optional.empty(), cuda.reasons());
        }
        if (!JcudaNatives.has("JCudnn")) {
            return Found.none("this build has no cuDNN natives; build with -Pcudnn");
        }
        LibrarySearch search = LibrarySearch.here();
        List<String> reasons = new ArrayList<>();
        for (Path file : search.files(FILE)) {
            List<String> missing = PARTS.stream().filter(part -> !Files.isRegularFile(file.resolveSibling(part))).toList();
            if (missing.isEmpty()) {
                return load(file);
            }
            reasons.add("cuDNN was found but is not complete: beside " + file + " there is no " + String.join(", ", missing)
                    + "; install all of cuDNN 9");
        }
        return reasons.isEmpty() ? Found.none("cuDNN 9 was not found: no " + FILE + " in " + search.words()
                + "; install it, or name its folder with -D" + CudaLibraries.FOLDERS_PROPERTY + " or LD_LIBRARY_PATH")
                : new Found(Optional.empty(), reasons);
    }

    /** No other is tried after one that does not load: parts of that one are in the process. */
    private static Found load(Path file) {
        try {
            PARTS.forEach(part -> System.load(file.resolveSibling(part).toString()));
            System.load(file.toString());
        } catch (LinkageError e) {
            return Found.none("cuDNN was found but does not load: " + file + " (" + CudaLibraries.firstLine(e, "libcudnn") + ")");
        }
        try (JcudaNatives natives = new JcudaNatives()) {
            natives.extract("JCudnn", UnaryOperator.identity());
            natives.initialise("jcuda.jcudnn.JCudnn");
            return new Found(Optional.of(file), List.of());
        } catch (LinkageError | IllegalStateException e) {
            return Found.none("JCuda's library for cuDNN does not load with " + file + " ("
                    + CudaLibraries.firstLine(e, "libcudnn") + ")");
        } catch (UncheckedIOException e) {
            return Found.none(e.getMessage() + ": " + e.getCause());
        }
    }

    private static final class Holder {
        static final Found FOUND = find();
    }
}
