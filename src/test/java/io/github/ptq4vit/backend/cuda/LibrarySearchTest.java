package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** cuBLAS is found in the first folder that has one, whatever way it was installed. */
class LibrarySearchTest {
    @TempDir
    Path root;

    private final Map<String, String> environment = new HashMap<>();

    @Test
    void aMachineWithoutAnyHasNone() {
        assertEquals(List.of(), LibrarySearch.ofMachine(Map.of(), root).cublas());
    }

    @Test
    void eachPlaceComesBeforeTheNext() throws IOException {
        // from the last to the first: each newly installed one is preferred
        installed("usr/lib/python3.11/dist-packages/nvidia/cublas/lib", 12);
        installed("usr/local/lib/python3.12/site-packages/nvidia/cu13/lib", 13);
        environment.put("HOME", root.resolve("home/user").toString());
        installed("home/user/.local/lib/python3.10/site-packages/nvidia/cublas/lib", 12);
        environment.put("VIRTUAL_ENV", root.resolve("venv").toString());
        installed("venv/lib/python3.9/site-packages/nvidia/cu13/lib", 13);
        installed("usr/lib/x86_64-linux-gnu", 12);
        installed("usr/local/cuda-12.4/lib64", 12);
        installed("usr/local/cuda-13.0/lib64", 13);
        installed("usr/local/cuda/lib64", 13);
        Files.createDirectories(root.resolve("etc/ld.so.conf.d"));
        Files.writeString(root.resolve("etc/ld.so.conf.d/cuda.conf"), "# CUDA\n" + root.resolve("configured") + "\n");
        installed("configured", 12);
        environment.put("LD_LIBRARY_PATH", root.resolve("nowhere") + "::" + root.resolve("ours"));
        installed("ours", 12);
        environment.put("CUDA_PATH", root.resolve("path").toString());
        installed("path/lib64", 13);
        environment.put("CUDA_HOME", root.resolve("home").toString());
        installed("home/targets/x86_64-linux/lib", 12);
        installed("home/lib64", 13);
    }

    @Test
    void versionTwelveComesFirstWithinAFolder() throws IOException {
        installed("usr/lib64", 13);
        installed("usr/lib64", 12);
        assertEquals(List.of(12, 13),
                LibrarySearch.ofMachine(Map.of(), root).cublas().stream().map(LibrarySearch.Cublas::major).toList());
    }

    @Test
    void pythonsPackageOfCudnnIsFound() throws IOException {
        Path lib = Files.createDirectories(root.resolve("venv/lib/python3.12/site-packages/nvidia/cudnn/lib"));
        Path file = Files.createFile(lib.resolve("libcudnn.so.9"));
        environment.put("VIRTUAL_ENV", root.resolve("venv").toString());
        assertEquals(List.of(file), LibrarySearch.ofMachine(environment, root).files("libcudnn.so.9"));
    }

    @Test
    void otherVersionsAndFoldersOfThatNameAreNotTaken() throws IOException {
        Files.createDirectories(root.resolve("usr/lib64/libcublas.so.12"));
        Files.createFile(root.resolve("usr/lib64/libcublas.so.11"));
        Files.createFile(root.resolve("usr/lib64/libcublas.so"));
        assertEquals(List.of(), LibrarySearch.ofMachine(Map.of(), root).cublas());
    }

    @Test
    void aGivenListIsAllThatIsAsked() throws IOException {
        installed("usr/lib64", 12);
        LibrarySearch given = LibrarySearch.of(root.resolve("one") + ":" + root.resolve("two"));
        assertEquals(List.of(root.resolve("one"), root.resolve("two")), given.folders());
        assertEquals(List.of(), given.cublas());
    }

    /** Installs a cuBLAS and asserts that it is the one found. */
    private void installed(String folder, int major) throws IOException {
        Path file = Files.createDirectories(root.resolve(folder)).resolve("libcublas.so." + major);
        Files.createFile(file);
        assertEquals(new LibrarySearch.Cublas(file, major), LibrarySearch.ofMachine(environment, root).cublas().get(0));
    }
}
