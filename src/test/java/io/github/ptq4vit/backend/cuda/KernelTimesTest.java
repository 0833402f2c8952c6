package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/** Work on the device is timed by kernel if that is asked for, and not otherwise. */
@EnabledIf("hasDevice")
class KernelTimesTest {
    static boolean hasDevice() {
        return EmulatedGpu.isReplaced() || EmulatedGpu.isBuilt();
    }

    @AfterEach
    void restore() {
        System.clearProperty(KernelTimes.PROPERTY);
    }

    @Test
    void nothingIsTimedUnlessAskedFor() {
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            work(backend, 1);
            assertEquals(Map.of(), backend.scoringSeconds());
        }
    }

    @Test
    void everyKindOfWorkIsTimedAndAddsUp() {
        System.setProperty(KernelTimes.PROPERTY, "true");
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            work(backend, 1);
            Map<String, Double> first = backend.scoringSeconds();
            assertEquals(Set.of("zero", "gelu_forward_f32", "copy", "cuBLAS"), first.keySet());
            first.forEach((kind, seconds) -> assertTrue(seconds > 0, kind));
            // more than what waits to be read at a time
            work(backend, 1000);
            backend.scoringSeconds().forEach((kind, seconds) -> assertTrue(seconds > first.get(kind), kind));
        }
    }

    private static void work(CudaBackend backend, int times) {
        try (Scope scope = backend.scope()) {
            View x = scope.floats(16, 16);
            View y = scope.floats(16, 16);
            View z = scope.floats(16, 16);
            for (int i = 0; i < times; i++) {
                backend.zero(x);
                backend.gelu(x, y);
                backend.copy(y, x);
                backend.matmul(x, y, z);
            }
        }
    }
}
