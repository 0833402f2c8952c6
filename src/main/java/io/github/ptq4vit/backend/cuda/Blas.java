package io.github.ptq4vit.backend.cuda;

import java.util.Locale;
import jcuda.Pointer;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasMath;
import jcuda.jcublas.cublasOperation;
import jcuda.runtime.cudaStream_t;

/** cuBLAS on a device's stream. */
final class Blas implements AutoCloseable {
    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});

    private final CudaDevice device;
    private final cublasHandle handle = new cublasHandle();

    /**
     * A matrix as cuBLAS sees it, column after column.
     *
     * @param transposed whether it is to be transposed before the product
     * @param leading distance of columns in memory
     * @param stride distance of the matrices of a batch
     */
    record Operand(long address, boolean transposed, int leading, long stride) {
    }

    /** JCuda's natives, JCublas2's among them, must have been loaded. */
    Blas(CudaDevice device) {
        this.device = device;
        device.enter();
        CudaErrors.checkBlas(JCublas2.cublasCreate(handle), "Opening cuBLAS on " + device.words());
        try {
            CudaErrors.checkBlas(JCublas2.cublasSetStream(handle, new cudaStream_t(device.stream())), "Giving cuBLAS a stream");
            // the default computes float32 products in at least float32
            CudaErrors.checkBlas(JCublas2.cublasSetMathMode(handle, device.settings().tf32()
                    ? cublasMath.CUBLAS_TF32_TENSOR_OP_MATH : cublasMath.CUBLAS_DEFAULT_MATH), "Setting cuBLAS's precision");
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /** {@code c = a b} for each of a batch; a is {@code [n, k]}, b is {@code [k, m]}, c is not transposed. */
    synchronized void multiply(int n, int k, int m, Operand a, Operand b, Operand c, int batch) {
        device.enter();
        device.launched("cuBLAS");
        CudaErrors.checkBlas(device.timed("cuBLAS", () -> JCublas2.cublasSgemmStridedBatched(handle, operation(a), operation(b),
                n, m, k, ONE, new DevicePointer(a.address), a.leading, a.stride, new DevicePointer(b.address), b.leading, b.stride,
                ZERO, new DevicePointer(c.address), c.leading, c.stride, batch)),
                String.format(Locale.ROOT, "A product of %d matrices [%d, %d] x [%d, %d] on %s", batch, n, k, k, m, device.words()));
    }

    private static int operation(Operand operand) {
        return operand.transposed ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N;
    }

    /** Version, as {@code 12.6.4}. */
    String version() {
        int[] version = {0};
        CudaErrors.checkBlas(JCublas2.cublasGetVersion(handle, version), "Asking cuBLAS for its version");
        return version[0] / 10000 + "." + version[0] / 100 % 100 + "." + version[0] % 100;
    }

    @Override
    public void close() {
        if (device.tryEnter()) {
            JCublas2.cublasDestroy(handle);
        }
    }
}
