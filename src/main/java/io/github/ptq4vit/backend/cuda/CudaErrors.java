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

    /** The driver's name and description of an error. */
    static String words(int result) {
        String[] name = {null};
        String[] description = {null};
        JCudaDriver.cuGetErrorName(result, name);
        JCudaDriver.cuGetErrorString(result, description);
        return (name[0] == null ? "error " + result : name[0]) + (description[0] == null ? "" : " (" + description[0] + ")");
    }
}
