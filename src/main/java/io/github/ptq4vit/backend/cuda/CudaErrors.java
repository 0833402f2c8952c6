package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import jcuda.jcublas.cublasStatus;

/** Turns status codes into exceptions. */
final class CudaErrors {
    private CudaErrors() {
    }

    /** Throws unless a call of the driver went well. */
    static void check(int result, String what) {
        if (result != CUresult.CUDA_SUCCESS) {
            throw new BackendException(what + " failed: " + words(result));
        }
    }

    /** Throws unless a call of cuBLAS went well. */
    static void checkBlas(int status, String what) {
        if (status != cublasStatus.CUBLAS_STATUS_SUCCESS) {
            throw new BackendException(what + " failed: cuBLAS says " + cublasStatus.stringFor(status));
        }
    }

    /** An error's number, and the driver's name and description of it where it has them; a stub of the driver has none. */
    static String words(int result) {
        if (result == CUresult.CUDA_ERROR_STUB_LIBRARY) {
            return "error " + result + " (the libcuda.so.1 that was loaded is a stub to link with and no driver: install NVIDIA's"
                    + " driver, and leave folders named stubs out of LD_LIBRARY_PATH)";
        }
        String[] name = {null};
        String[] description = {null};
        // without success nothing was written, whatever the arrays hold
        boolean named = JCudaDriver.cuGetErrorName(result, name) == CUresult.CUDA_SUCCESS && name[0] != null;
        boolean described = JCudaDriver.cuGetErrorString(result, description) == CUresult.CUDA_SUCCESS && description[0] != null;
        return (named ? name[0] : "error " + result) + (described ? " (" + description[0] + ")" : "");
    }
}
