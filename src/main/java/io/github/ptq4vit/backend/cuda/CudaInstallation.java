package io.github.ptq4vit.backend.cuda;

import java.util.List;
import java.util.Optional;

/**
 * What was found of CUDA on this machine, and why the rest was not.
 *
 * @param driver file of the driver that is loaded, absent if there is none
 * @param cublas file of the cuBLAS that is loaded, absent if there is none that fits
 * @param cublasMajor its major version, 12 or 13; 0 without cuBLAS
 * @param reasons one sentence for each thing that is missing
 */
public record CudaInstallation(Optional<String> driver, Optional<String> cublas, int cublasMajor, List<String> reasons) {
    /** Copies the list. */
    public CudaInstallation {
        reasons = List.copyOf(reasons);
    }

    /** Whether the driver's calls can be made; a device may still be missing. */
    public boolean hasDriver() {
        return driver.isPresent();
    }

    /** Whether cuBLAS can be called. */
    public boolean hasCublas() {
        return cublas.isPresent();
    }
}
