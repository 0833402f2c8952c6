package io.github.ptq4vit.backend.cuda;

/**
 * How a CUDA backend is opened.
 *
 * @param device number of the device, from 0
 * @param tf32 whether float32 products may round their operands to TF32: faster on tensor cores, about three decimal digits
 * @param synchronous whether to wait for each kernel, so that a failure names the very one; for finding faults
 * @param caching whether freed memory is kept for the next request
 */
public record CudaSettings(int device, boolean tf32, boolean synchronous, boolean caching) {

    public CudaSettings {
        if (device < 0) {
            throw new IllegalArgumentException("Devices are counted from 0; there is no device " + device);
        }
    }

    /**
     * Device 0 in full float32. The system properties {@code ptq4vit.cuda.synchronous=true} and
     * {@code ptq4vit.cuda.cache=false} are for finding faults.
     */
    public static CudaSettings standard() {
        return new CudaSettings(0, false, Boolean.getBoolean("ptq4vit.cuda.synchronous"),
                !"false".equals(System.getProperty("ptq4vit.cuda.cache")));
    }
}
