package io.github.ptq4vit.backend;

import io.github.ptq4vit.backend.cpu.CpuBackend;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** A backend that has to keep the contract. */
record BackendUnderTest(String name, Supplier<Backend> open) {

    static Stream<BackendUnderTest> all() {
        return Stream.of(
                new BackendUnderTest("plain", PlainBackend::new),
                new BackendUnderTest("cpu", () -> new CpuBackend(2)),
                new BackendUnderTest("cpu, float products", () -> CpuBackend.withFloatProducts(2)));
    }

    /** For the name of the test. */
    @Override
    public String toString() {
        return name;
    }
}
