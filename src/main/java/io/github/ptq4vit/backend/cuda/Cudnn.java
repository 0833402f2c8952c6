package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.View;
import java.util.Locale;
import java.util.function.LongToIntFunction;
import jcuda.Pointer;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnDataType;
import jcuda.jcudnn.cudnnHandle;
import jcuda.jcudnn.cudnnSoftmaxAlgorithm;
import jcuda.jcudnn.cudnnSoftmaxMode;
import jcuda.jcudnn.cudnnStatus;
import jcuda.jcudnn.cudnnTensorDescriptor;
import jcuda.jcudnn.cudnnTensorFormat;
import jcuda.runtime.cudaStream_t;

/** Softmax by cuDNN on a device's stream. Arrays are dense float32; rows are all axes but the last. */
final class Cudnn implements AutoCloseable {
    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});
    /** What a tensor of cuDNN may have at most. */
    private static final long MOST_ELEMENTS = Integer.MAX_VALUE;
    private static final int ACCURATE = cudnnSoftmaxAlgorithm.CUDNN_SOFTMAX_ACCURATE;
    private static final int EACH_ROW = cudnnSoftmaxMode.CUDNN_SOFTMAX_MODE_INSTANCE;

    private final CudaDevice device;
    private final cudnnHandle handle = new cudnnHandle();
    private final cudnnTensorDescriptor shape = new cudnnTensorDescriptor();
    private boolean open;

    /**
     * Opens cuDNN.
     *
     * @throws BackendException if it is not there, or does not open
     */
    Cudnn(CudaDevice device) {
        CudnnLibrary.require();
        this.device = device;
        device.enter();
        check(JCudnn.cudnnCreate(handle), "Opening cuDNN on " + device.words());
        try {
            check(JCudnn.cudnnCreateTensorDescriptor(shape), "Making a descriptor for cuDNN");
            open = true;
            check(JCudnn.cudnnSetStream(handle, new cudaStream_t(device.stream())), "Giving cuDNN a stream");
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /**
     * {@code y = softmax(scale * x)}; y may be x. cuDNN scales what it gives and not what it takes, so unless the scale is 1 our
     * own kernel scales into y first: twice the memory traffic.
     */
    synchronized void softmax(View x, float scale, View y) {
        View in = x;
        if (scale != 1) {
            scaled(x, scale, y);
            in = y;
        }
        long from = device.address(in);
        long to = device.address(y);
        each(x, "Softmax", first -> JCudnn.cudnnSoftmaxForward(handle, ACCURATE, EACH_ROW, ONE, shape,
                new DevicePointer(from + first), ZERO, shape, new DevicePointer(to + first)));
    }

    /** Gradient of {@link #softmax} from its output y; dx may be dy. */
    synchronized void softmaxBackward(View y, View dy, float scale, View dx) {
        Pointer factor = Pointer.to(new float[] {scale});
        long result = device.address(y);
        long gradient = device.address(dy);
        long to = device.address(dx);
        each(y, "The gradient of softmax", first -> JCudnn.cudnnSoftmaxBackward(handle, ACCURATE, EACH_ROW, factor, shape,
                new DevicePointer(result + first), shape, new DevicePointer(gradient + first), ZERO, shape,
                new DevicePointer(to + first)));
    }

    private void scaled(View x, float scale, View y) {
        try (CudaScope scope = new CudaScope(device.memory())) {
            device.launch(Kernel.MULTIPLY_REPEATED_F32).view(x)
                    .address(Tables.upload(device, scope, Float.BYTES, words -> words.putFloat(scale))).view(y)
                    .count(x.elements()).count(1).over((x.elements() + 3) / 4);
        }
    }

    /** Calls on as many rows at a time as cuDNN takes; a call is given the offset of its first row in bytes. */
    private void each(View x, String what, LongToIntFunction call) {
        int columns = x.size(-1);
        if (x.elements() == 0) {
            return;
        }
        long rows = x.elements() / columns;
        int most = (int) (MOST_ELEMENTS / columns);
        device.enter();
        device.launched("cuDNN");
        for (long row = 0; row < rows; row += most) {
            int count = (int) Math.min(most, rows - row);
            long first = row * columns * Float.BYTES;
            String words = String.format(Locale.ROOT, "%s of %d rows of %d by cuDNN on %s", what, count, columns, device.words());
            check(JCudnn.cudnnSetTensor4dDescriptor(shape, cudnnTensorFormat.CUDNN_TENSOR_NCHW, cudnnDataType.CUDNN_DATA_FLOAT,
                    count, columns, 1, 1), words);
            check(device.timed("cuDNN", () -> call.applyAsInt(first)), words);
        }
    }

    /** Version, as {@code 9.5.1}. */
    static String version() {
        long version = JCudnn.cudnnGetVersion();
        return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
    }

    /** JCuda's names of the codes are those of cuDNN 8; the library has the right ones. */
    private static void check(int status, String what) {
        if (status != cudnnStatus.CUDNN_STATUS_SUCCESS) {
            throw new BackendException(what + " failed: cuDNN says " + JCudnn.cudnnGetErrorString(status));
        }
    }

    @Override
    public void close() {
        if (device.tryEnter()) {
            if (open) {
                JCudnn.cudnnDestroyTensorDescriptor(shape);
            }
            JCudnn.cudnnDestroy(handle);
        }
    }
}
