package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.View;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.driver.JCudaDriver;

/**
 * A kernel and its parameters, given in the order of its declaration:
 * {@code device.launch(Kernel.MAGNITUDE_F32).view(x).view(y).count(n).over(n)}.
 */
final class Launch {
    /** Blocks a multiprocessor that loop over their share: enough that the last ones to end weigh little. */
    private static final int BLOCKS_A_MULTIPROCESSOR = 32;
    private static final int MOST_BLOCKS_IN_Y_OR_Z = 65535;
    /** More than the parameters of any kernel take. */
    static final int MOST_PARAMETER_BYTES = 512;

    private final CudaDevice device;
    private final Kernel kernel;
    /** The values of all parameters, and where each of them begins. */
    private final ByteBuffer values = ByteBuffer.allocate(MOST_PARAMETER_BYTES).order(ByteOrder.nativeOrder());
    private final List<Integer> parameters = new ArrayList<>();
    private final List<View> views = new ArrayList<>();

    Launch(CudaDevice device, Kernel kernel) {
        this.device = device;
        this.kernel = kernel;
    }

    /** Address of a view's first element. */
    Launch view(View view) {
        views.add(view);
        return address(device.address(view));
    }

    /** An address on the device; 0 for none. */
    Launch address(long address) {
        return words(address);
    }

    /** A 64-bit integer. */
    Launch count(long count) {
        return words(count);
    }

    /** A 32-bit integer. */
    Launch integer(int value) {
        parameter(Integer.BYTES).putInt(value);
        return this;
    }

    /** A float32 number. */
    Launch number(float value) {
        parameter(Float.BYTES).putFloat(value);
        return this;
    }

    /** A structure of 64-bit integers, by value. */
    Launch words(long... words) {
        parameter(Long.BYTES).asLongBuffer().put(words);
        values.position(values.position() + Long.BYTES * words.length);
        return this;
    }

    /** Where the next parameter's value goes. */
    private ByteBuffer parameter(int alignment) {
        int start = (values.position() + alignment - 1) / alignment * alignment;
        parameters.add(start);
        return values.position(start);
    }

    /** Starts so many threads that loop over items; none if there are none. */
    void over(long items) {
        long blocks = (items + kernel.blockSize() - 1) / kernel.blockSize();
        if (blocks > 0) {
            blocks(Math.min(blocks, (long) BLOCKS_A_MULTIPROCESSOR * device.multiprocessors()), 1, 1);
        }
    }

    /** Starts a warp a row that loop over rows; none if there are none. */
    void overRows(long rows) {
        over(rows * 32);
    }

    /** Starts blocks; none if a size is zero. */
    void blocks(long x, long y, long z) {
        if (x == 0 || y == 0 || z == 0) {
            return;
        }
        if (x > Integer.MAX_VALUE || y > MOST_BLOCKS_IN_Y_OR_Z || z > MOST_BLOCKS_IN_Y_OR_Z) {
            throw new IllegalArgumentException(words(x, y, z) + " has too many blocks");
        }
        if (parameters.size() != kernel.parameters()) {
            throw new IllegalArgumentException("Kernel " + kernel.entry() + " takes " + kernel.parameters() + " parameters, not "
                    + parameters.size());
        }
        device.enter();
        int result = device.timed(kernel.entry(), () -> device.withParameters(values.flip(), memory -> JCudaDriver.cuLaunchKernel(
                device.function(kernel), (int) x, (int) y, (int) z, kernel.blockSize(), 1, 1, kernel.dynamicBytes(), device.stream(),
                Pointer.to(parameters.stream().map(memory::withByteOffset).toArray(NativePointerObject[]::new)), null)));
        if (result == 0 && device.settings().synchronous()) {
            result = JCudaDriver.cuStreamSynchronize(device.stream());
        }
        if (result != 0) {
            device.launched(words(x, y, z));
            device.checkWork(result, "A kernel on");
        }
        device.launched(kernel.entry());
    }

    private String words(long x, long y, long z) {
        return "kernel " + kernel.entry() + " in " + x + " x " + y + " x " + z + " blocks of " + kernel.blockSize() + " threads on "
                + views;
    }
}
