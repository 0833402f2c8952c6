package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;

/** The CUDA backend with cuDNN, for tests. */
public final class WithCudnn {
    static final CudaSettings SETTINGS = new CudaSettings(List.of(0), false, true, false, true);

    private WithCudnn() {
    }

    /** Opens it. The emulated device always has cuDNN; on a real one that has not, the test is left out. */
    public static CudaBackend open() {
        if (EmulatedGpu.isReplaced()) {
            String reasons = String.join("; ", CudnnLibrary.load().reasons());
            if (!reasons.isEmpty()) {
                System.out.println("Left out for want of cuDNN: " + reasons);
            }
            assumeTrue(reasons.isEmpty(), reasons);
        }
        return new CudaBackend(SETTINGS);
    }
}
