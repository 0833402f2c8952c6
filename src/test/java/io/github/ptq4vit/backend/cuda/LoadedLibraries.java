package io.github.ptq4vit.backend.cuda;

import java.util.Arrays;
import jcuda.Pointer;
import jcuda.Sizeof;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.JCudaDriver;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasOperation;

/** Prints what {@link CudaLibraries} loads and, where there is a driver, what it and cuBLAS answer: run by tests. */
final class LoadedLibraries {
    private LoadedLibraries() {
    }

    public static void main(String[] arguments) {
        String folder = System.getProperty("java.io.tmpdir");
        CudaInstallation installation = CudaLibraries.load();
        System.out.println("driver " + installation.driver().orElse("none"));
        System.out.println("cublas " + installation.cublasMajor() + " " + installation.cublas().orElse("none"));
        installation.reasons().forEach(reason -> System.out.println("reason " + reason));
        System.out.println("folder restored " + folder.equals(System.getProperty("java.io.tmpdir")));
        if (installation.hasDriver()) {
            JCudaDriver.setExceptionsEnabled(true);
            JCudaDriver.cuInit(0);
            CUdevice device = new CUdevice();
            JCudaDriver.cuDeviceGet(device, 0);
            CUcontext context = new CUcontext();
            JCudaDriver.cuDevicePrimaryCtxRetain(context, device);
            JCudaDriver.cuCtxSetCurrent(context);
            byte[] name = new byte[100];
            JCudaDriver.cuDeviceGetName(name, name.length, device);
            System.out.println("device " + new String(name).trim());
        }
        if (installation.hasCublas()) {
            System.out.println("product " + Arrays.toString(product()));
        }
    }

    /** [1 3; 2 4] [5 7; 6 8] by cuBLAS, column-major. */
    private static float[] product() {
        JCublas2.setExceptionsEnabled(true);
        cublasHandle handle = new cublasHandle();
        JCublas2.cublasCreate(handle);
        int[] version = new int[1];
        JCublas2.cublasGetVersion(handle, version);
        System.out.println("version " + version[0]);
        CUdeviceptr a = uploaded(1, 2, 3, 4);
        CUdeviceptr b = uploaded(5, 6, 7, 8);
        CUdeviceptr c = uploaded(0, 0, 0, 0);
        JCublas2.cublasSgemm(handle, cublasOperation.CUBLAS_OP_N, cublasOperation.CUBLAS_OP_N, 2, 2, 2,
                Pointer.to(new float[] {1}), a, 2, b, 2, Pointer.to(new float[] {0}), c, 2);
        float[] result = new float[4];
        JCudaDriver.cuMemcpyDtoH(Pointer.to(result), c, 4L * Sizeof.FLOAT);
        JCublas2.cublasDestroy(handle);
        return result;
    }

    private static CUdeviceptr uploaded(float... values) {
        CUdeviceptr pointer = new CUdeviceptr();
        JCudaDriver.cuMemAlloc(pointer, (long) values.length * Sizeof.FLOAT);
        JCudaDriver.cuMemcpyHtoD(pointer, Pointer.to(values), (long) values.length * Sizeof.FLOAT);
        return pointer;
    }
}
