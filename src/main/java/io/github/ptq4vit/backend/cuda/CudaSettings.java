package io.github.ptq4vit.backend.cuda;

import java.util.List;

/**
 * How a CUDA backend is opened.
 *
 * @param devices numbers of the devices, from 0; the first does all but searches, whose candidates are spread over all
 * @param tf32 whether float32 products may round their operands to TF32: faster on tensor cores, about three decimal digits
 * @param cudnn whether cuDNN computes softmaxes instead of our own kernels; other roundings
 * @param synchronous whether to wait for each kernel, so that a failure names the very one; for finding faults
 * @param caching whether freed memory is kept for the next request
 */
public record CudaSettings(List<Integer> devices, boolean tf32, boolean cudnn, boolean synchronous, boolean caching) {

    public CudaSettings {
        devices = List.copyOf(devices);
        if (devices.isEmpty() || devices.stream().anyMatch(device -> device < 0)) {
            throw new IllegalArgumentException("Devices are counted from 0, and at least one is needed, not " + devices);
        }
    }

    /** With one device and without cuDNN. */
    public CudaSettings(int device, boolean tf32, boolean synchronous, boolean caching) {
        this(List.of(device), tf32, false, synchronous, caching);
    }

    /** Device 0 in full float32 without cuDNN, otherwise as {@link #of}. */
    public static CudaSettings standard() {
        return of(List.of(), false, false);
    }

    /**
     * These devices, or device 0 if there are none in the list. The system properties {@code ptq4vit.cuda.synchronous=true}
     * and {@code ptq4vit.cuda.cache=false} are for finding faults.
     */
    public static CudaSettings of(List<Integer> devices, boolean tf32, boolean cudnn) {
        return new CudaSettings(devices.isEmpty() ? List.of(0) : devices, tf32, cudnn,
                Boolean.getBoolean("ptq4vit.cuda.synchronous"), !"false".equals(System.getProperty("ptq4vit.cuda.cache")));
    }
}
