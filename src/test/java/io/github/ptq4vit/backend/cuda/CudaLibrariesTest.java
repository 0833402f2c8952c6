package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Driver and cuBLAS 12 or 13 are loaded from where they are, in JVMs of their own; what is missing is told. */
class CudaLibrariesTest {
    private static final String PRODUCT = "product [23.0, 34.0, 31.0, 46.0]";

    @TempDir
    Path folder;
    private Path temporary;

    @BeforeEach
    void aTemporaryFolderOfItsOwn() throws IOException {
        temporary = Files.createDirectory(folder.resolve("temporary"));
    }

    @Test
    void cublas12IsLoadedAndMultiplies() throws Exception {
        Path stands = standIns();
        String text = run(stands.toString());
        assertHas(text, "driver " + stands.resolve("libcuda.so.1"), "cublas 12 " + stands.resolve("libcublas.so.12"),
                "version 120000", PRODUCT, "device emulated GPU");
        assertFalse(text.contains("reason"), text);
    }

    @Test
    void cublas13IsLoadedThroughTheRenamedNative() throws Exception {
        Path stands = standIns();
        String text = runWithDriver("13000", stands.resolve("cublas13") + ":" + stands);
        assertHas(text, "cublas 13 " + stands.resolve("cublas13/libcublas.so.13"), "version 130000", PRODUCT);
    }

    @Test
    void withoutTheDriverThereIsOneReason() throws Exception {
        String text = run(Files.createDirectory(folder.resolve("empty")).toString());
        assumeTrue(text.contains("driver none"), "this machine has a driver of its own");
        assertHas(text, "driver none", "cublas 0 none", "reason NVIDIA's driver (libcuda.so.1) was not found; install driver R525");
        assertEquals(1, text.lines().filter(line -> line.startsWith("reason")).count(), text);
        assertFalse(text.contains("Exception"), text);
    }

    @Test
    void withoutCublasTheDriverServesAndTheReasonNamesTheFolders() throws Exception {
        Path alone = Files.createDirectory(folder.resolve("alone"));
        Files.copy(standIns().resolve("libcuda.so.1"), alone.resolve("libcuda.so.1"));
        assertHas(run(alone.toString()), "device emulated GPU", "cublas 0 none",
                "reason cuBLAS was not found: no libcublas.so.12 or .13 in " + alone);
    }

    @Test
    void aCublasThatDoesNotLoadIsNamed() throws Exception {
        Path broken = broken(13);
        Path alone = Files.createDirectory(folder.resolve("alone"));
        Files.copy(standIns().resolve("libcuda.so.1"), alone.resolve("libcuda.so.1"));
        assertHas(runWithDriver("13000", broken + ":" + alone), "device emulated GPU", "cublas 0 none",
                "reason cuBLAS was found but does not load: " + broken.resolve("libcublas.so.13"));
    }

    @Test
    void afterACublasThatDoesNotLoadTheNextOneIsTaken() throws Exception {
        String text = run(broken(12) + ":" + standIns());
        assertHas(text, "cublas 12 " + standIns().resolve("libcublas.so.12"), PRODUCT);
        assertFalse(text.contains("reason"), text);
    }

    @Test
    void aCublasThatIsNewerThanTheDriverIsPassedOver() throws Exception {
        Path stands = standIns();
        assertHas(runWithDriver("12060", stands.resolve("cublas13") + ":" + stands), "cublas 12 ", PRODUCT);
        Path alone = Files.createDirectory(folder.resolve("alone"));
        Files.copy(stands.resolve("libcuda.so.1"), alone.resolve("libcuda.so.1"));
        assertHas(runWithDriver("12060", stands.resolve("cublas13") + ":" + alone), "cublas 0 none",
                "libcublas.so.13 needs a driver for CUDA 13 or later; this one is for 12.6");
    }

    @Test
    void twoProcessesThatStartTogetherDoNotDisturbEachOther() throws Exception {
        String stands = standIns().toString();
        List<FreshJvm> both = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            both.add(start(stands, "12040"));
        }
        for (FreshJvm jvm : both) {
            assertHas(jvm.finish(), PRODUCT);
        }
        assertNothingLeft();
    }

    @Test
    void filesPlantedUnderTheNamesThatJcudaUsesAreNotTaken() throws Exception {
        for (String name : List.of("JCudaDriver", "JCublas2")) {
            Files.writeString(temporary.resolve("lib" + name + "-12.6.0-linux-x86_64.so"), "planted");
        }
        assertHas(start(standIns().toString(), "12040").finish(), PRODUCT);
    }

    @Test
    void extractedNativesArePrivateAndForeignFilesBesideThemAreKept() throws IOException {
        String before = System.getProperty("java.io.tmpdir");
        Path foreign;
        try (JcudaNatives natives = new JcudaNatives()) {
            natives.extract("JCublas2", library -> library);
            assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(natives.folder())));
            foreign = Files.createFile(natives.folder().resolve("foreign"));
            assertEquals(before, System.getProperty("java.io.tmpdir"));
        }
        try (DirectoryStream<Path> left = Files.newDirectoryStream(foreign.getParent())) {
            left.forEach(file -> assertEquals(foreign, file));
        }
        Files.delete(foreign);
        Files.delete(foreign.getParent());
    }

    private Path broken(int major) throws IOException {
        Path broken = Files.createDirectory(folder.resolve("broken"));
        Files.writeString(broken.resolve("libcublas.so." + major), "no library");
        return broken;
    }

    private String run(String folders) throws IOException, InterruptedException {
        return runWithDriver("12040", folders);
    }

    private String runWithDriver(String version, String folders) throws IOException, InterruptedException {
        String text = start(folders, version).finish();
        assertHas(text, "folder restored true");
        assertNothingLeft();
        return text;
    }

    private FreshJvm start(String folders, String driverVersion) throws IOException {
        return FreshJvm.start(folder, LoadedLibraries.class, List.of("-Djava.io.tmpdir=" + temporary, "-Xmx200m",
                "-D" + CudaLibraries.FOLDERS_PROPERTY + "=" + folders), Map.of("EMULATOR_DRIVER_VERSION", driverVersion));
    }

    private void assertNothingLeft() throws IOException {
        try (DirectoryStream<Path> left = Files.newDirectoryStream(temporary)) {
            left.forEach(file -> assertTrue(file.getFileName().toString().startsWith("hsperfdata"), "left behind: " + file));
        }
    }

    private static void assertHas(String text, String... parts) {
        for (String part : parts) {
            assertTrue(text.contains(part), "'" + part + "' is not in: " + text);
        }
    }

    private static Path standIns() {
        assumeTrue(EmulatedGpu.isBuilt(), "the emulated GPU is not built");
        return Path.of(System.getProperty(CudaLibraries.FOLDERS_PROPERTY)).toAbsolutePath();
    }
}
