package io.github.ptq4vit.backend;

import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** A backend that has to keep the contract. */
record BackendUnderTest(String name, Supplier<Backend> open) {

    static Stream<BackendUnderTest> all() {
        List<BackendUnderTest> all = new ArrayList<>(List.of(
                new BackendUnderTest("plain", PlainBackend::new),
                new BackendUnderTest("cpu", () -> new CpuBackend(2)),
                new BackendUnderTest("cpu, float products", () -> CpuBackend.withFloatProducts(2))));
        if (!EmulatedGpu.isUsed()) {
            all.add(new BackendUnderTest("cuda", () -> new CudaBackend(CudaSettings.standard())));
            all.add(new BackendUnderTest("cuda, no cuBLAS", () -> CudaBackend.withoutBlas(CudaSettings.standard())));
        } else if (EmulatedGpu.isBuilt()) {
            all.add(new BackendUnderTest("cuda, emulated", BackendUnderTest::emulated));
            all.add(new BackendUnderTest("cuda, emulated: no tensor cores, no cuBLAS, copies late, last threads first",
                    BackendUnderTest::otherEmulated));
        }
        return all.stream();
    }

    private static Backend emulated() {
        new EmulatedGpu();
        return new CudaBackend(CudaSettings.standard());
    }

    /** All that the other one does not show: an older device, our own float32 products, another order of what has none. */
    private static Backend otherEmulated() {
        new EmulatedGpu().set("compute_capability", 75).set("deferred", 1).set("reversed", 1);
        return CudaBackend.withoutBlas(CudaSettings.standard());
    }

    /** For the name of the test. */
    @Override
    public String toString() {
        return name;
    }
}
