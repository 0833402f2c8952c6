package io.github.ptq4vit.backend.cuda;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Folders that may hold CUDA's libraries, in the order in which they are asked.
 *
 * @param folders without duplicates
 */
record LibrarySearch(List<Path> folders) {
    /** Major versions of cuBLAS that can be used, the native one first. */
    static final List<Integer> MAJORS = List.of(12, 13);

    /** A file and the major version in its name. */
    record Cublas(Path file, int major) {
    }

    LibrarySearch {
        folders = List.copyOf(folders);
    }

    /**
     * The folders of a machine: CUDA_HOME and CUDA_PATH, LD_LIBRARY_PATH, the usual places of toolkits and distributions,
     * and Python environments, whose packages bring cuBLAS too.
     *
     * @param environment variables by name
     * @param root of the file system
     */
    static LibrarySearch ofMachine(Map<String, String> environment, Path root) {
        Set<Path> folders = new LinkedHashSet<>();
        for (String name : List.of("CUDA_HOME", "CUDA_PATH")) {
            for (Path home : paths(environment.get(name))) {
                folders.add(home.resolve("lib64"));
                folders.add(home.resolve("targets/x86_64-linux/lib"));
                folders.add(home.resolve("lib"));
            }
        }
        folders.addAll(paths(environment.get("LD_LIBRARY_PATH")));
        folders.add(root.resolve("usr/local/cuda/lib64"));
        matching(root.resolve("usr/local"), "cuda-{12,13}*").forEach(toolkit -> folders.add(toolkit.resolve("lib64")));
        for (String usual : List.of("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib", "opt/cuda/lib64")) {
            folders.add(root.resolve(usual));
        }
        for (String name : List.of("VIRTUAL_ENV", "CONDA_PREFIX")) {
            for (Path home : paths(environment.get(name))) {
                folders.add(home.resolve("lib"));
                addPythons(home.resolve("lib"), folders);
            }
        }
        for (Path home : paths(environment.get("HOME"))) {
            addPythons(home.resolve(".local/lib"), folders);
        }
        addPythons(root.resolve("usr/local/lib"), folders);
        addPythons(root.resolve("usr/lib"), folders);
        return new LibrarySearch(List.copyOf(folders));
    }

    /** The folders of a list separated by colons, and no others. */
    static LibrarySearch of(String list) {
        return new LibrarySearch(paths(list));
    }

    /** The first cuBLAS that lies in a folder; version 12 before 13 within one. */
    Optional<Cublas> cublas() {
        for (Path folder : folders) {
            for (int major : MAJORS) {
                Path file = folder.resolve("libcublas.so." + major);
                if (Files.isRegularFile(file)) {
                    return Optional.of(new Cublas(file.toAbsolutePath(), major));
                }
            }
        }
        return Optional.empty();
    }

    /** The first file of a name, if any folder has it. */
    Optional<Path> file(String name) {
        return folders.stream().map(folder -> folder.resolve(name)).filter(Files::isRegularFile)
                .map(Path::toAbsolutePath).findFirst();
    }

    private static void addPythons(Path lib, Set<Path> folders) {
        for (Path python : matching(lib, "python3*")) {
            for (String packages : List.of("site-packages", "dist-packages")) {
                folders.add(python.resolve(packages).resolve("nvidia/cublas/lib"));
                folders.add(python.resolve(packages).resolve("nvidia/cu13/lib"));
            }
        }
    }

    /** Entries of a folder that match, the highest version first; none if the folder cannot be read. */
    private static List<Path> matching(Path folder, String pattern) {
        try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, pattern)) {
            List<Path> found = new java.util.ArrayList<>();
            stream.forEach(found::add);
            found.sort(java.util.Comparator.reverseOrder());
            return found;
        } catch (IOException | java.nio.file.DirectoryIteratorException e) {
            return List.of();
        }
    }

    private static List<Path> paths(String list) {
        List<Path> paths = new java.util.ArrayList<>();
        for (String part : list == null ? new String[0] : list.split(":")) {
            if (!part.isBlank()) {
                try {
                    paths.add(Path.of(part));
                } catch (InvalidPathException e) {
                    continue;
                }
            }
        }
        return paths;
    }
}
