package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Backends;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/** What may go wrong on a device ends in one sentence and leaves nothing behind. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class FaultsTest {
    private static final CudaSettings CACHING = new CudaSettings(0, false, false, true);
    private static final CudaSettings SYNCHRONOUS = new CudaSettings(0, false, true, true);

    private EmulatedGpu gpu;

    @BeforeEach
    void restore() {
        gpu = new EmulatedGpu();
    }

    @AfterEach
    void nothingIsLeftBehind() {
        gpu.close();
        assertEquals(0, gpu.liveAllocations());
    }

    @Test
    void anyAllocationMayFail() {
        int failures = 0;
        for (int allocation = 1;; allocation++) {
            gpu.set("fail_allocation", allocation);
            String message = failureOf(CACHING);
            if (message.isEmpty()) {
                break;
            }
            failures++;
            assertOneSentence(message);
            assertTrue(message.contains("Out of memory on device 0 (") || message.contains("pinned host memory"), message);
        }
        // weights, biases, results, scratch of products and reductions, two pinned pieces; some reuse others
        assertTrue(failures >= 10, failures + " allocations");
    }

    @Test
    void outOfMemorySaysHowMuchAndWhatToDo() {
        gpu.set("memory_bytes", 64L << 20);
        try (CudaBackend backend = new CudaBackend(CACHING); Scope scope = backend.scope()) {
            scope.floats(10, 1 << 20);
            String message = assertThrows(BackendException.class, () -> scope.floats(8, 1 << 20)).getMessage();
            assertOneSentence(message);
            assertTrue(message.contains("32 MiB more are needed") && message.contains("40 MiB are in use here")
                    && message.contains("--count"), message);
            // what fits can still be had
            scope.floats(1 << 20);
        }
    }

    @Test
    void idleMemoryOfOtherSizesGoesBackBeforeGivingUp() {
        gpu.set("memory_bytes", 64L << 20);
        try (CudaBackend backend = new CudaBackend(CACHING)) {
            for (int megabytes = 1; megabytes < 12; megabytes++) {
                try (Scope scope = backend.scope()) {
                    scope.floats(2 * megabytes, 1 << 18);
                    scope.floats(2 * megabytes + 1, 1 << 18);
                }
            }
            assertEquals(0, backend.liveBytes());
        }
    }

    @Test
    void aFailedKernelIsNamedIfItIsWaitedFor() {
        for (int launch = 1; launch <= 6; launch++) {
            gpu.set("fail_launch", launch);
            String message = failureOf(SYNCHRONOUS);
            assertOneSentence(message);
            assertTrue(message.matches("A kernel on device 0 .*CUDA_ERROR_ILLEGAL_ADDRESS.*kernel [a-z]+_[a-z0-9_]+ in \\d+ x .*"),
                    message);
            gpu.close();
        }
    }

    @Test
    void aFailedKernelShowsAtTheNextDownloadOtherwise() {
        gpu.set("fail_launch", 1);
        String message = failureOf(CACHING);
        assertOneSentence(message);
        assertTrue(message.contains("CUDA_ERROR_ILLEGAL_ADDRESS") && message.contains("-Dptq4vit.cuda.synchronous=true"), message);
    }

    @Test
    void noDeviceAnOldDriverAnOldDeviceAndABrokenCublasAreTold() {
        gpu.set("fail_init", 100);
        refused("sees no GPU");
        gpu.set("fail_init", 0).set("driver_version", 11080);
        refused("knows CUDA 11.8, 12.0 is needed; install driver R525 or later");
        gpu.set("driver_version", 12000).set("compute_capability", 70);
        refused("has compute capability 7.0; 7.5 (Turing) or later is needed");
        gpu.set("compute_capability", 80).set("fail_cublas", 1);
        refused("Opening cuBLAS on device 0");
        gpu.set("fail_cublas", 0);
        String message = assertThrows(BackendException.class, () -> new CudaBackend(new CudaSettings(3, false, false, true)))
                .getMessage();
        assertTrue(message.contains("There is no device 3"), message);
    }

    @Test
    void errorsThatTheDriverHasNoNameForAreTold() {
        gpu.set("fail_init", 12345);
        refused("Starting the NVIDIA driver failed: error 12345");
        gpu.set("fail_init", 0).set("stub", 1);
        refused("Starting the NVIDIA driver failed: error 34 (the libcuda.so.1 that was loaded is a stub to link with and no driver");
    }

    @Test
    void whatTheDriversCompilerSaysIsTold() {
        gpu.set("fail_jit", 1);
        refused("failed: CUDA_ERROR_INVALID_PTX (a PTX JIT compilation failed); the driver's compiler says: ptxas application ptx"
                + " input, line 7; error: fails as set");
        gpu.set("fail_jit", 0);
        Backends.Status status = Backends.all().stream().filter(s -> s.name().equals("cuda")).findFirst().orElseThrow();
        assertTrue(status.device().matches(".*, kernels compiled by the driver, or found in its cache, in \\d+\\.\\d s, .*"),
                status.device());
    }

    @Test
    void aCudnnThatDoesNotOpenAndOneThatFailsAreTold() {
        gpu.set("fail_cudnn", 1);
        String message = assertThrows(BackendException.class, WithCudnn::open).getMessage();
        assertOneSentence(message);
        assertTrue(message.matches("Opening cuDNN on device 0 .* failed: cuDNN says CUDNN_STATUS_NOT_INITIALIZED"), message);
        gpu.set("fail_cudnn", 2);
        try (CudaBackend backend = WithCudnn.open(); Scope scope = backend.scope()) {
            View x = scope.floats(2, 3, 5);
            message = assertThrows(BackendException.class, () -> backend.softmax(x, 0.5f, x)).getMessage();
            assertOneSentence(message);
            assertTrue(message.matches("Softmax of 6 rows of 5 by cuDNN on device 0 .* failed: cuDNN says"
                    + " CUDNN_STATUS_EXECUTION_FAILED"), message);
            message = assertThrows(BackendException.class, () -> backend.softmaxBackward(x, x, 1, x)).getMessage();
            assertTrue(message.startsWith("The gradient of softmax of 6 rows of 5 by cuDNN"), message);
        }
        gpu.set("fail_cudnn", 0).set("fail_cublas", 1);
        message = assertThrows(BackendException.class, WithCudnn::open).getMessage();
        assertTrue(message.startsWith("Opening cuBLAS"), message);
    }

    private static void refused(String reason) {
        String message = assertThrows(BackendException.class, () -> Backends.open("cuda")).getMessage();
        assertOneSentence(message);
        assertTrue(message.contains(reason), message);
        Backends.Status status = Backends.all().stream().filter(s -> s.name().equals("cuda")).findFirst().orElseThrow();
        assertFalse(status.available());
        assertTrue(status.reasons().get(0).contains(reason), status.reasons().toString());
    }

    @Test
    void anEmulatedDeviceIsNeverChosenByItself() {
        try (var backend = Backends.open("auto")) {
            assertEquals("cpu", backend.device().backend());
        }
        try (var backend = Backends.open("cuda")) {
            assertEquals("cuda", backend.device().backend());
            assertTrue(backend.device().device().contains("emulated"), backend.device().device());
        }
    }

    @Test
    void withoutCublasTheDeviceSaysSo() {
        try (CudaBackend backend = CudaBackend.withoutBlas(CACHING)) {
            assertTrue(backend.device().device().contains("for want of cuBLAS"), backend.device().device());
        }
        try (CudaBackend backend = new CudaBackend(new CudaSettings(0, true, false, true))) {
            assertTrue(backend.device().device().endsWith("in TF32"), backend.device().device());
        }
    }

    @Test
    void aClosedBackendCannotBeUsed() {
        CudaBackend backend = new CudaBackend(CACHING);
        backend.close();
        backend.close();
        assertThrows(BackendException.class, () -> backend.scope().floats(3));
    }

    @Test
    void buffersOfAnotherDeviceAreRefused() {
        try (CudaBackend one = new CudaBackend(CACHING); CudaBackend other = new CudaBackend(CACHING);
                Scope scope = one.scope(); Scope otherScope = other.scope()) {
            View x = scope.floats(4);
            View y = otherScope.floats(4);
            assertThrows(IllegalArgumentException.class, () -> one.gelu(x, y));
            assertThrows(IllegalArgumentException.class, () -> one.upload(Tensor.zeros(4), y));
        }
    }

    /** The message of what a workload failed with; empty if it did not. Checks that nothing stays allocated. */
    private String failureOf(CudaSettings settings) {
        try (CudaBackend backend = new CudaBackend(settings)) {
            try {
                workload(backend);
                return "";
            } catch (BackendException e) {
                return e.getMessage();
            } finally {
                assertEquals(0, backend.liveBytes());
            }
        } catch (BackendException e) {
            return e.getMessage();
        } finally {
            assertEquals(0, gpu.liveAllocations());
        }
    }

    private static void workload(CudaBackend backend) {
        CodeGrid grid = CodeGrid.of(CodeRange.unlimited(0.1f, -128, 127));
        backend.parallel(3, (from, to, scope) -> {
            var weights = backend.linear(scope, Tensor.zeros(40, 30), Optional.of(Tensor.zeros(40)));
            var codes = backend.linear(scope, new byte[30 * 40], new float[30], 40, Optional.of(Tensor.zeros(30)));
            View x = scope.floats(1000 * (to - from), 30);
            backend.upload(Tensor.zeros(x.sizes()), x);
            View y = scope.floats(x.size(0), 40);
            backend.linear(x, weights, y);
            backend.gelu(y, y);
            backend.linear(y, grid, codes, x);
            View z = scope.floats(1, 1, x.size(0), 40);
            backend.matmul(x.reshape(1, 1, x.size(0), 30), List.of(grid), scope.floats(1, 1, 30, 40), List.of(grid), z);
            backend.maxima(x.reshape(1, x.size(0), 30), true);
            backend.rowSums(x);
            assertEquals(Shape.of(x.sizes()), backend.download(x).shape());
        });
    }

    private static void assertOneSentence(String message) {
        assertFalse(message.contains("\n") || message.contains("Exception") || message.isBlank(), message);
    }
}
