package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import java.util.Optional;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * What a GPU can do by its own data.
 *
 * @param capability compute capability times 10
 * @param clock highest clock in Hz
 * @param cacheBytes size of the L2
 */
record GpuFacts(String name, boolean real, int capability, int multiprocessors, double clock, long cacheBytes) {

    /** Of the device that a backend has opened, the first one. */
    static GpuFacts of(CudaBackend backend) {
        CUdevice device = new CUdevice();
        check(JCudaDriver.cuDeviceGet(device, 0));
        return new GpuFacts(backend.device().device(), backend.isReal(),
                10 * attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
                        + attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
                1e3 * attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE));
    }

    private static int attribute(CUdevice device, int attribute) {
        int[] value = {0};
        check(JCudaDriver.cuDeviceGetAttribute(value, attribute, device));
        return value[0];
    }

    private static void check(int result) {
        if (result != CUresult.CUDA_SUCCESS) {
            throw new BackendException("Asking for the device's data failed: " + CUresult.stringFor(result));
        }
    }

    /** Highest number of int8 operations a second on dense matrices, where it is known for the compute capability. */
    Optional<Double> int8Peak() {
        // of a multiprocessor in a clock; 7.5 without tensor cores, which our kernels do not use there
        int operations = switch (capability) {
            case 75 -> 512;
            case 80 -> 4096;
            case 86, 89, 120 -> 2048;
            case 90 -> 8192;
            case 100 -> 16384;
            default -> 0;
        };
        return operations == 0 ? Optional.empty() : Optional.of(operations * clock * multiprocessors);
    }

    /** Highest number of float32 operations a second, where it is known; a fused operation counts two. */
    Optional<Double> floatPeak() {
        int operations = switch (capability) {
            case 75, 80 -> 128;
            case 86, 89, 90, 100, 120 -> 256;
            default -> 0;
        };
        return operations == 0 ? Optional.empty() : Optional.of(operations * clock * multiprocessors);
    }
}
