package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;

/** cuDNN is loaded from where all of it is, in JVMs of their own; what is missing is told before cuDNN ends the process. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class CudnnLibraryTest {
    private static final Path STAND_INS = Path.of(System.getProperty(CudaLibraries.FOLDERS_PROPERTY, "none")).toAbsolutePath();

    @TempDir
    Path folder;
    private Path other;

    @BeforeEach
    void anotherFolder() throws IOException {
        other = Files.createDirectory(folder.resolve("other"));
        Files.copy(STAND_INS.resolve("libcuda.so.1"), other.resolve("libcuda.so.1"));
    }

    @Test
    void allOfItIsLoaded() throws Exception {
        String text = run(STAND_INS.toString());
        assertHas(text, "cudnn " + STAND_INS.resolve("libcudnn.so.9") + " version 9.0.0",
                "line cuDNN " + STAND_INS.resolve("libcudnn.so.9"));
        assertFalse(text.contains("reason"), text);
    }

    @Test
    void withoutItTheReasonNamesTheFolders() throws Exception {
        assertOneReason(run(other.toString()), "cuDNN 9 was not found: no libcudnn.so.9 in " + other + "; install it, or");
    }

    @Test
    void eachMissingPartIsNamed() throws Exception {
        copyWithout("libcudnn_ops.so.9", "libcudnn_engines_precompiled.so.9");
        assertOneReason(run(other.toString()), "beside " + other.resolve("libcudnn.so.9")
                + " there is no libcudnn_engines_precompiled.so.9, libcudnn_ops.so.9; install all of cuDNN 9");
    }

    @Test
    void afterAnIncompleteOneTheNextIsTaken() throws Exception {
        copyWithout("libcudnn_graph.so.9");
        String text = run(other + ":" + STAND_INS);
        assertHas(text, "cudnn " + STAND_INS.resolve("libcudnn.so.9") + " version");
        assertFalse(text.contains("reason"), text);
    }

    @Test
    void aPartThatDoesNotLoadIsNamed() throws Exception {
        copyWithout("libcudnn_cnn.so.9");
        Files.writeString(other.resolve("libcudnn_cnn.so.9"), "no library");
        assertOneReason(run(other.toString()), "cuDNN was found but does not load: " + other.resolve("libcudnn.so.9") + " (");
    }

    @Test
    void aBuildWithoutTheNativesSaysHowToBuildItWithThem() throws Exception {
        String libraries = Arrays.stream(System.getProperty("java.class.path").split(":"))
                .filter(entry -> !entry.contains("jcudnn-natives")).collect(Collectors.joining(":"));
        assertOneReason(run(STAND_INS.toString(), "-cp", libraries), "this build has no cuDNN natives; build with -Pcudnn");
    }

    private void copyWithout(String... parts) throws IOException {
        try (Stream<Path> files = Files.list(STAND_INS)) {
            for (Path file : files.filter(file -> file.getFileName().toString().startsWith("libcudnn")).toList()) {
                if (!List.of(parts).contains(file.getFileName().toString())) {
                    Files.copy(file, other.resolve(file.getFileName()));
                }
            }
        }
    }

    private String run(String folders, String... more) throws IOException, InterruptedException {
        return FreshJvm.start(folder, LoadedCudnn.class, Stream.concat(Stream.of("-Xmx200m",
                "-D" + CudaLibraries.FOLDERS_PROPERTY + "=" + folders), Arrays.stream(more)).toList(), Map.of()).finish();
    }

    private static void assertOneReason(String text, String part) {
        assertHas(text, "cudnn none", part);
        List<String> reasons = text.lines().filter(line -> line.startsWith("reason ")).toList();
        assertEquals(1, reasons.size(), text);
        assertHas(text, "line no cuDNN (" + reasons.get(0).substring("reason ".length()) + ")");
        assertFalse(text.contains("Exception"), text);
    }

    private static void assertHas(String text, String... parts) {
        for (String part : parts) {
            assertTrue(text.contains(part), "'" + part + "' is not in: " + text);
        }
    }
}
