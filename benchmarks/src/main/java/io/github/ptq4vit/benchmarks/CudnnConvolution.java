package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnConvolutionDescriptor;
import jcuda.jcudnn.cudnnConvolutionFwdAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionMode;
import jcuda.jcudnn.cudnnDataType;
import jcuda.jcudnn.cudnnFilterDescriptor;
import jcuda.jcudnn.cudnnHandle;
import jcuda.jcudnn.cudnnMathType;
import jcuda.jcudnn.cudnnTensorDescriptor;
import jcuda.jcudnn.cudnnTensorFormat;
import jcuda.runtime.cudaStream_t;

/**
 * A patch embedding as cuDNN's convolution in float32, with memory and a stream of its own on the device whose context is the
 * calling thread's; the library uses none. The algorithm is the first that cuDNN's heuristics name.
 */
final class CudnnConvolution implements AutoCloseable {
    private static final int MOST_ALGORITHMS = 8;
    private static final int NCHW = cudnnTensorFormat.CUDNN_TENSOR_NCHW;
    private static final int FLOAT = cudnnDataType.CUDNN_DATA_FLOAT;
    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});

    private final Deque<Runnable> undo = new ArrayDeque<>();
    private final CUstream stream = new CUstream();
    private final cudnnHandle handle = new cudnnHandle();
    private final cudnnTensorDescriptor in = new cudnnTensorDescriptor();
    private final cudnnFilterDescriptor filters = new cudnnFilterDescriptor();
    private final cudnnConvolutionDescriptor how = new cudnnConvolutionDescriptor();
    private final cudnnTensorDescriptor out = new cudnnTensorDescriptor();
    private final CUdeviceptr x;
    private final CUdeviceptr w;
    private final CUdeviceptr y;
    private final CUdeviceptr workspace;
    private final cudnnConvolutionFwdAlgoPerf algorithm;
    private final int outputs;

    /**
     * Prepares it.
     *
     * @param images {@code [images, channels, side, side]}
     * @param weight {@code [outputs, channels, patch, patch]}
     */
    CudnnConvolution(Tensor images, Tensor weight) {
        int count = images.shape().size(0);
        int channels = images.shape().size(1);
        int side = images.shape().size(2);
        int filterCount = weight.shape().size(0);
        int patch = weight.shape().size(2);
        int tokens = side / patch;
        this.outputs = count * filterCount * tokens * tokens;
        try {
            check(JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING));
            undo.push(() -> JCudaDriver.cuStreamDestroy(stream));
            checkDnn(JCudnn.cudnnCreate(handle));
            undo.push(() -> JCudnn.cudnnDestroy(handle));
            checkDnn(JCudnn.cudnnSetStream(handle, new cudaStream_t(stream)));
            checkDnn(JCudnn.cudnnCreateTensorDescriptor(in));
            undo.push(() -> JCudnn.cudnnDestroyTensorDescriptor(in));
            checkDnn(JCudnn.cudnnSetTensor4dDescriptor(in, NCHW, FLOAT, count, channels, side, side));
            checkDnn(JCudnn.cudnnCreateFilterDescriptor(filters));
            undo.push(() -> JCudnn.cudnnDestroyFilterDescriptor(filters));
            checkDnn(JCudnn.cudnnSetFilter4dDescriptor(filters, FLOAT, NCHW, filterCount, channels, patch, patch));
            checkDnn(JCudnn.cudnnCreateConvolutionDescriptor(how));
            undo.push(() -> JCudnn.cudnnDestroyConvolutionDescriptor(how));
            checkDnn(JCudnn.cudnnSetConvolution2dDescriptor(how, 0, 0, patch, patch, 1, 1,
                    cudnnConvolutionMode.CUDNN_CROSS_CORRELATION, FLOAT));
            checkDnn(JCudnn.cudnnSetConvolutionMathType(how, cudnnMathType.CUDNN_FMA_MATH));
            checkDnn(JCudnn.cudnnCreateTensorDescriptor(out));
            undo.push(() -> JCudnn.cudnnDestroyTensorDescriptor(out));
            checkDnn(JCudnn.cudnnSetTensor4dDescriptor(out, NCHW, FLOAT, count, filterCount, tokens, tokens));
            this.algorithm = chooseAlgorithm();
            this.workspace = memory(Math.max(1, algorithm.memory));
            this.x = uploaded(images);
            this.w = uploaded(weight);
            this.y = memory((long) outputs * Float.BYTES);
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    private cudnnConvolutionFwdAlgoPerf chooseAlgorithm() {
        cudnnConvolutionFwdAlgoPerf[] found = new cudnnConvolutionFwdAlgoPerf[MOST_ALGORITHMS];
        for (int i = 0; i < found.length; i++) {
            found[i] = new cudnnConvolutionFwdAlgoPerf();
        }
        int[] count = {0};
        checkDnn(JCudnn.cudnnGetConvolutionForwardAlgorithm_v7(handle, in, filters, how, out, found.length, count, found));
        for (int i = 0; i < count[0]; i++) {
            if (found[i].status == 0) {
                return found[i];
            }
        }
        throw new BackendException("cuDNN has no algorithm for this convolution");
    }

    /** Number of the algorithm in cuDNN's list, and its working memory. */
    String words() {
        return "algorithm " + algorithm.algo + ", " + algorithm.memory / (1 << 20) + " MiB of working memory";
    }

    /** Median seconds by the device's events, the cache emptied before each run by setting that many bytes. */
    double seconds(int runs, long flushedBytes) {
        CUdeviceptr flushed = memory(flushedBytes);
        CUevent start = event();
        CUevent end = event();
        List<Double> found = new ArrayList<>();
        for (int run = -2; run < runs; run++) {
            check(JCudaDriver.cuMemsetD8Async(flushed, (byte) 0, flushedBytes, stream));
            check(JCudaDriver.cuEventRecord(start, stream));
            run();
            check(JCudaDriver.cuEventRecord(end, stream));
            check(JCudaDriver.cuStreamSynchronize(stream));
            float[] milliseconds = {0};
            check(JCudaDriver.cuEventElapsedTime(milliseconds, start, end));
            if (run >= 0) {
                found.add(milliseconds[0] / 1e3);
            }
        }
        return KernelClock.median(found);
    }

    private void run() {
        checkDnn(JCudnn.cudnnConvolutionForward(handle, ONE, in, x, filters, w, how, algorithm.algo, workspace,
                Math.max(1, algorithm.memory), ZERO, out, y));
    }

    /** {@code [images, outputs, tokens]} of the last run. */
    float[] result() {
        float[] numbers = new float[outputs];
        check(JCudaDriver.cuMemcpyDtoH(Pointer.to(numbers), y, (long) outputs * Float.BYTES));
        return numbers;
    }

    private CUdeviceptr uploaded(Tensor tensor) {
        float[] numbers = tensor.toArray();
        CUdeviceptr at = memory((long) numbers.length * Float.BYTES);
        check(JCudaDriver.cuMemcpyHtoD(at, Pointer.to(numbers), (long) numbers.length * Float.BYTES));
        return at;
    }

    private CUdeviceptr memory(long bytes) {
        CUdeviceptr at = new CUdeviceptr();
        check(JCudaDriver.cuMemAlloc(at, bytes));
        undo.push(() -> JCudaDriver.cuMemFree(at));
        return at;
    }

    private CUevent event() {
        CUevent event = new CUevent();
        check(JCudaDriver.cuEventCreate(event, 0));
        undo.push(() -> JCudaDriver.cuEventDestroy(event));
        return event;
    }

    private static void check(int result) {
        if (result != CUresult.CUDA_SUCCESS) {
            throw new BackendException("A call around cuDNN's convolution failed: " + CUresult.stringFor(result));
        }
    }

    private static void checkDnn(int status) {
        if (status != 0) {
            throw new BackendException("cuDNN's convolution failed: " + JCudnn.cudnnGetErrorString(status));
        }
    }

    @Override
    public void close() {
        while (!undo.isEmpty()) {
            undo.pop().run();
        }
    }
}
