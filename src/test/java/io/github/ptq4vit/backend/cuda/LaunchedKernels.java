package io.github.ptq4vit.backend.cuda;

import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/** A backend that notes which kernels it has launched; on an emulated device and on a real one. */
public final class LaunchedKernels implements AutoCloseable {
    private LaunchedKernels() {
    }

    /** Backends that are opened until this is closed note it. */
    public static LaunchedKernels noted() {
        System.setProperty(KernelTimes.PROPERTY, "true");
        return new LaunchedKernels();
    }

    /** Kernels that a device has the memory for and that the backend, which was opened to note them, has not launched. */
    public Set<String> missing(CudaBackend backend) {
        Set<String> missing = Arrays.stream(Kernel.values()).filter(backend.cudaDevice()::runs).map(Kernel::entry)
                .collect(Collectors.toCollection(TreeSet::new));
        missing.removeAll(backend.scoringSeconds().keySet());
        return missing;
    }

    @Override
    public void close() {
        System.clearProperty(KernelTimes.PROPERTY);
    }
}
