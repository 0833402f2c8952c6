package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/** The command line on a GPU, on several, and on one that fails. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class CudaCommandsTest extends TinyInput {
    private EmulatedGpu gpu;

    CudaCommandsTest() {
        super(4);
    }

    @BeforeEach
    void openGpu() {
        gpu = new EmulatedGpu();
    }

    @AfterEach
    void nothingIsLeftBehind() throws IOException {
        gpu.close();
        assertEquals(0, gpu.liveAllocations());
        assertNothingTemporary();
    }

    @Test
    void everyCommandRunsOnIt() throws IOException {
        assertEquals("cuda", json(calibrate(out, "--json")).required("backend").textValue());
        assertEquals("cuda", versions(out).required("backend").textValue());
        assertEquals("float32", versions(out).required("float_products").textValue());
        JsonNode evaluated = json(CommandLineRun.of("evaluate", "--model", out, "--against", model, "--images", images, "--labels",
                labels, "--json", "--backend", "cuda"));
        assertEquals("cuda", evaluated.required("backend").textValue());
        assertEquals(4, evaluated.required("images").intValue());
        JsonNode compared = json(CommandLineRun.of("compare", "--model", model, "--images", images, "--count", 2, "--eval", images,
                "--labels", labels, "--presets", "base", "--bits", 8, "--out", folder.resolve("compared"), "--json", "--backend",
                "cuda"));
        assertEquals("cuda", compared.required("backend").textValue());
        assertEquals(1, compared.required("rows").size());
    }

    @Test
    void aReproducibleEvaluationTellsTheSameWithEveryBackend() throws IOException {
        calibrate(out, "--json").succeeded();
        assertEquals(reproducible("cpu"), reproducible("cuda"));
    }

    /** What does not depend on the machine; the divergence tells of every logit, float32 and quantised. */
    private JsonNode reproducible(String backend) throws IOException {
        ObjectNode evaluated = (ObjectNode) json(CommandLineRun.of("evaluate", "--model", out, "--against", model, "--images", images,
                "--labels", labels, "--json", "--reproducible", "--backend", backend));
        assertEquals(backend, evaluated.required("backend").textValue());
        assertTrue(evaluated.required("divergence").doubleValue() > 0);
        return evaluated.without(List.of("backend", "seconds", "images_per_second"));
    }

    @Test
    void aPrecisionOtherThanFloat32IsAskedForAndRecorded() throws IOException {
        String line = calibrate(out, "--tf32").succeeded().err();
        assertTrue(line.contains("backend: cuda (") && line.contains("in TF32"), line);
        assertEquals("tf32", versions(out).required("float_products").textValue());
        for (String other : new String[] {"cpu", "auto"}) {
            run(folder.resolve("none"), other, "--tf32").failed(2, "--tf32", "--backend cuda");
            run(folder.resolve("none"), other, "--devices", "0").failed(2, "--devices", "--backend cuda");
        }
        gpu.set("compute_capability", 75);
        calibrate(folder.resolve("none"), "--tf32").failed(1, "TF32", "8.0");
    }

    @Test
    void cudnnIsAskedForRecordedAndListed() throws IOException {
        Path own = folder.resolve("own");
        calibrate(own).succeeded();
        assertEquals("own", versions(own).required("softmax").textValue());
        String line = calibrate(out, "--cudnn").succeeded().err();
        assertTrue(line.contains("backend: cuda (") && line.contains("softmax by cuDNN 9."), line);
        assertEquals("cudnn", versions(out).required("softmax").textValue());
        assertTrue(versions(out).required("device").textValue().contains("cuDNN 9."), versions(out).toString());
        String devices = CommandLineRun.of("devices").succeeded().out();
        assertTrue(devices.lines().anyMatch(l -> l.startsWith("cuda") && l.matches(".*, cuDNN /.*libcudnn\\.so\\.9")), devices);
        for (String other : new String[] {"cpu", "auto"}) {
            run(folder.resolve("none"), other, "--cudnn").failed(2, "--cudnn", "--backend cuda");
        }
        gpu.set("fail_cudnn", 1);
        calibrate(folder.resolve("none"), "--cudnn").failed(1, "Opening cuDNN on device 0");
    }

    @Test
    void autoSaysWhatItTookAndWhyNotTheGpu() {
        gpu.set("fail_init", 100);
        String line = run(out, "auto").succeeded().err();
        assertTrue(line.lines().anyMatch(l -> l.startsWith("backend: cpu (") && l.contains("; not the GPU: ")
                && l.contains("sees no GPU")), line);
    }

    @Test
    void severalDevicesMakeTheSameModel() throws IOException {
        gpu.set("devices", 3);
        for (String preset : new String[] {"ptq4vit", "base"}) {
            Path one = folder.resolve("one-" + preset);
            calibrate(one, "--preset", preset).succeeded();
            String devices = preset.equals("base") ? "0,1" : "2,0,1";
            Path several = folder.resolve("several-" + preset);
            String line = calibrate(several, "--preset", preset, "--devices", devices).succeeded().err();
            assertTrue(line.contains("backend: cuda (" + devices.split(",").length + " x "), line);
            assertSame(one, several);
        }
        calibrate(out, "--devices", "0,3").failed(1, "no device 3");
        calibrate(out, "--devices", "0,0").failed(2, "0,0");
    }

    @Test
    void aDeviceThatFailsAmongSeveralIsNamed() throws IOException {
        gpu.set("devices", 2);
        boolean second = false;
        for (int launch = 400; launch < 430 && !second; launch++) {
            gpu.set("fail_launch", launch);
            CommandLineRun run = calibrate(out, "--devices", "0,1", "--force");
            run.failed(1, "device ");
            second = run.err().contains("device 1 (");
            gpu.close();
            gpu.set("devices", 2);
        }
        assertTrue(second, "no failure was on the second device");
    }

    @Test
    void memoryMayRunOutAnywhere() throws IOException {
        int failures = 0;
        for (int allocation = 1; allocation <= 40; allocation++) {
            gpu.set("fail_allocation", allocation);
            CommandLineRun run = calibrate(out, "--force");
            gpu.close();
            if (run.code() != 0) {
                failures++;
                run.failed(1, "memory");
                continueIfKept(run);
            }
        }
        assertTrue(failures > 20, failures + " failures");
    }

    @Test
    void afterAFailedKernelTheCalibrationGoesOn() throws IOException {
        Path whole = folder.resolve("whole");
        calibrate(whole).succeeded();
        List<Integer> kept = new ArrayList<>();
        for (int launch = 1; launch < 1 << 20; launch = 6 * launch + 1) {
            gpu.set("fail_launch", launch);
            CommandLineRun failed = calibrate(out, "--force");
            gpu.close();
            if (failed.code() == 0) {
                break;
            }
            failed.failed(1, "device 0 (");
            if (continueIfKept(failed)) {
                kept.add(launch);
            }
        }
        assertFalse(kept.isEmpty(), "nothing was ever kept");
    }

    /** What is kept can be continued on the GPU, which gives the same bytes as without the interruption, or on the processor. */
    private boolean continueIfKept(CommandLineRun failed) throws IOException {
        if (!failed.err().contains("kept: ")) {
            assertFalse(Files.exists(out), failed.err());
            return false;
        }
        Path whole = folder.resolve("whole");
        if (!Files.exists(whole)) {
            calibrate(whole).succeeded();
        }
        Path copy = folder.resolve("copy");
        for (String backend : new String[] {"cuda", "cpu"}) {
            copy(out, copy);
            run(copy, backend, "--resume").succeeded();
            if (backend.equals("cuda")) {
                assertSame(whole, copy);
                assertArrayEquals(Files.readAllBytes(whole.resolve("manifest.json")), Files.readAllBytes(copy.resolve("manifest.json")));
            } else {
                assertEquals("cuda, then cpu", versions(copy).required("backend").textValue());
                assertEquals(Checkpoint.read(whole).model().layers().size(), Checkpoint.read(copy).model().layers().size());
            }
            delete(copy);
        }
        return true;
    }

    private static void copy(Path from, Path to) throws IOException {
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(from.relativize(file).toString()));
            }
        }
    }

    private static void delete(Path tree) throws IOException {
        try (Stream<Path> files = Files.walk(tree)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }

    private static void assertSame(Path one, Path other) throws IOException {
        assertArrayEquals(Files.readAllBytes(one.resolve("model.safetensors")), Files.readAllBytes(other.resolve("model.safetensors")));
    }

    private CommandLineRun calibrate(Path target, Object... more) {
        return run(target, "cuda", more);
    }

    private CommandLineRun run(Path target, String backend, Object... more) {
        Stream<Object> common = Stream.of("calibrate", "--model", model, "--images", images, "--count", 2, "--out", target,
                "--backend", backend);
        return CommandLineRun.of(Stream.concat(common, Arrays.stream(more)).toArray());
    }

    private static JsonNode json(CommandLineRun run) throws IOException {
        return new JsonMapper().readTree(run.succeeded().out());
    }

    private static JsonNode versions(Path checkpoint) throws IOException {
        return new JsonMapper().readTree(checkpoint.resolve("manifest.json").toFile()).required("provenance").required("versions");
    }
}
