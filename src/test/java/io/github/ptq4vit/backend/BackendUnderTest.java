package io.github.ptq4vit.backend;

import io.github.ptq4vit.backend.cpu.CpuBackend;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.backend.cuda.EmulatedGpu;
import io.github.ptq4vit.backend.cuda.WithCudnn;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** A backend that has to keep the contract. */
public record BackendUnderTest(String name, Supplier<Backend> open) {

    /** All of them; only the CUDA backend if {@code -Dptq4vit.tests.backends=cuda} says so, for those who have a GPU for some minutes. */
    static Stream<BackendUnderTest> all() {
        return System.getProperty("ptq4vit.tests.backends", "all").equals("cuda") ? gpus() : Stream.concat(Stream.of(
                new BackendUnderTest("plain", PlainBackend::new), new BackendUnderTest("least", LeastBackend::new),
                new BackendUnderTest("cpu", () -> new CpuBackend(2)),
                new BackendUnderTest("cpu, float products", () -> CpuBackend.withFloatProducts(2))), gpus());
    }

    /** All of them, and the CUDA backend with cuDNN's softmax. */
    static Stream<BackendUnderTest> softmaxes() {
        return Stream.concat(all(), EmulatedGpu.isReplaced() ? Stream.of(new BackendUnderTest("cuda, cuDNN", WithCudnn::open))
                : !EmulatedGpu.isBuilt() ? Stream.empty()
                : Stream.of(new BackendUnderTest("cuda, emulated, cuDNN, copies late", BackendUnderTest::withCudnn)));
    }

    /** The CUDA backend on the emulated GPU if that is built, or on the real one if the tests are run for that. */
    public static Stream<BackendUnderTest> gpus() {
        if (EmulatedGpu.isReplaced()) {
            return Stream.of(new BackendUnderTest("cuda", () -> new CudaBackend(CudaSettings.standard())),
                    new BackendUnderTest("cuda, no cuBLAS", () -> CudaBackend.withoutBlas(CudaSettings.standard())));
        }
        return !EmulatedGpu.isBuilt() ? Stream.empty() : Stream.of(
                new BackendUnderTest("cuda, emulated, every access checked, lanes apart", () -> checked(true)),
                new BackendUnderTest("cuda, emulated, older device, no cuBLAS, other orders", BackendUnderTest::older),
                new BackendUnderTest("cuda, emulated from the sources, every access checked", () -> checked(false)));
    }

    /** The PTX of each target, without what makes it slower: for whole calibrations. */
    public static Stream<BackendUnderTest> quickGpus() {
        return !EmulatedGpu.isBuilt() ? gpus().limit(1) : Stream.of(80, 75)
                .map(capability -> new BackendUnderTest("cuda, emulated, PTX for " + capability, () -> quick(capability)));
    }

    /** An emulated device that executes the compiled sources, which is what takes least time. */
    public static Backend compiledGpu() {
        return emulated(80, false);
    }

    private static Backend quick(int capability) {
        return emulated(capability, true);
    }

    /** Compute capabilities that there is PTX for, if there is an emulated device to execute it. */
    static Stream<Integer> emulatedTargets() {
        return EmulatedGpu.isBuilt() ? Stream.of(80, 75) : Stream.empty();
    }

    /** An emulated device that executes the PTX, or the compiled sources. */
    static CudaBackend emulated(int capability, boolean ptx) {
        new EmulatedGpu().set("compute_capability", capability).set("ptx", ptx ? 1 : 0);
        return new CudaBackend(CudaSettings.standard());
    }

    /** Each piece of memory as large as asked for, and no more: accesses are checked against that. */
    private static Backend checked(boolean ptx) {
        new EmulatedGpu().set("guard", 1).set("ptx", ptx ? 1 : 0).set("divided", 1);
        return new CudaBackend(new CudaSettings(0, false, false, false));
    }

    /** What the other one does not show: no tensor cores, our own float32 products, copies late, the last threads first. */
    private static Backend older() {
        new EmulatedGpu().set("compute_capability", 75).set("deferred", 1).set("reversed", 1);
        return CudaBackend.withoutBlas(CudaSettings.standard());
    }

    private static Backend withCudnn() {
        new EmulatedGpu().set("deferred", 1);
        return WithCudnn.open();
    }

    /** For the name of the test. */
    @Override
    public String toString() {
        return name;
    }
}
