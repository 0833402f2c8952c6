package io.github.ptq4vit.backend.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

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

    /** Where to look in this process: the folders of {@link CudaLibraries#FOLDERS_PROPERTY} if it is set, else the machine's. */
    static LibrarySearch here() {
        String folders = System.getProperty(CudaLibraries.FOLDERS_PROPERTY);
        return folders != null ? of(folders) : ofMachine(System.getenv(), Path.of("/"));
    }

    /**
     * The folders of a machine: CUDA_HOME and CUDA_PATH, LD_LIBRARY_PATH, what the linker is configured with, the usual places
     * of toolkits and distributions, and Python environments, whose packages bring cuBLAS and cuDNN too.
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
        for (Path file : matching(root.resolve("etc/ld.so.conf.d"), "*.conf")) {
            folders.addAll(linkerFolders(file));
        }
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

    /** Every cuBLAS in the folders, in their order; version 12 before 13 within one. */
    List<Cublas> cublas() {
        return folders.stream().flatMap(folder -> MAJORS.stream()
                .map(major -> new Cublas(folder.resolve("libcublas.so." + major).toAbsolutePath(), major)))
                .filter(found -> Files.isRegularFile(found.file())).toList();
    }

    /** Every file of a name. */
    List<Path> files(String name) {
        return folders.stream().map(folder -> folder.resolve(name)).filter(Files::isRegularFile).map(Path::toAbsolutePath)
                .toList();
    }

    /** The folders for messages. */
    String words() {
        return String.join(", ", folders.stream().map(Path::toString).toList());
    }

    private static void addPythons(Path lib, Set<Path> folders) {
        for (Path python : matching(lib, "python3*")) {
            for (String packages : List.of("site-packages", "dist-packages")) {
                folders.add(python.resolve(packages).resolve("nvidia/cublas/lib"));
                folders.add(python.resolve(packages).resolve("nvidia/cu13/lib"));
                folders.add(python.resolve(packages).resolve("nvidia/cudnn/lib"));
            }
        }
    }

    /** Entries of a folder that match, the last in the alphabet first; none if the folder cannot be read. */
    private static List<Path> matching(Path folder, String pattern) {
        try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, pattern)) {
            List<Path> found = new ArrayList<>();
            stream.forEach(found::add);
            found.sort(Comparator.reverseOrder());
            return found;
        } catch (IOException | DirectoryIteratorException e) {
            return List.of();
        }
    }

    /** The folders that a file of the dynamic linker's configuration lists. */
    private static List<Path> linkerFolders(Path file) {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.map(String::strip).filter(line -> line.startsWith("/")).flatMap(line -> paths(line).stream()).toList();
        } catch (IOException | UncheckedIOException e) {
            return List.of();
        }
    }

    private static List<Path> paths(String list) {
        List<Path> paths = new ArrayList<>();
        for (String part : list == null ? new String[0] : list.split(":")) {
            if (!part.isBlank()) {
                try {
                    paths.add(Path.of(part));
                } catch (InvalidPathException ignored) {
                    // no folder has such a name
                }
            }
        }
        return paths;
    }
}
