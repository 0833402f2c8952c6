package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Backends;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** {@code mvn test -Pgpu}: the contract and golden tests run on the real device, and this makes sure that they do. */
@Tag("gpu")
class RealGpuTest {
    @Test
    void aRealDeviceIsThereWithCublasAndIsChosenByItself() {
        assertTrue(EmulatedGpu.isReplaced(), "run with mvn test -Pgpu");
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            System.out.println(backend.device() + " " + CudaBackend.libraries());
            assertTrue(backend.isReal(), backend.device().device());
            assertTrue(backend.device().device().contains("cuBLAS 1"), backend.device().device());
        }
        try (Backend backend = Backends.open("auto")) {
            assertEquals("cuda", backend.device().backend());
        }
    }
}
