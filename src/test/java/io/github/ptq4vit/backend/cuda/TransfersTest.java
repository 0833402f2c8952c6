package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

/** Copies in pieces, on a device that does everything as late as it may. */
@EnabledIf("io.github.ptq4vit.backend.cuda.EmulatedGpu#isBuilt")
class TransfersTest {
    /** Several pieces and a rest. */
    private static final int COUNT = (9 << 20) / Float.BYTES * 2 + 13;

    private EmulatedGpu gpu;

    @BeforeEach
    void late() {
        gpu = new EmulatedGpu().set("deferred", 1);
    }

    @AfterEach
    void close() {
        gpu.close();
    }

    @Test
    void largeTensorsGoUpAndDownInPieces() {
        float[] numbers = random(1);
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard()); Scope scope = backend.scope()) {
            View x = scope.floats(COUNT);
            backend.upload(Tensor.of(Shape.of(COUNT), numbers), x);
            assertArrayEquals(numbers, backend.download(x).toArray());
            FloatBuffer direct = ByteBuffer.allocateDirect(COUNT * Float.BYTES).order(ByteOrder.nativeOrder()).asFloatBuffer();
            direct.put(0, numbers);
            backend.upload(new Tensor(Shape.of(COUNT), direct), x);
            assertArrayEquals(numbers, backend.download(x).toArray());
        }
    }

    @Test
    void whatIsUploadedMayBeOverwrittenAtOnceAndFreedMemoryReused() {
        float[] numbers = random(2);
        float[] expected = numbers.clone();
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard()); Scope outer = backend.scope()) {
            View y = outer.floats(COUNT);
            try (Scope scope = backend.scope()) {
                View x = scope.floats(COUNT);
                backend.upload(Tensor.of(Shape.of(COUNT), numbers), x);
                Arrays.fill(numbers, 7);
                backend.magnitudes(x, y);
            }
            try (Scope scope = backend.scope()) {
                // the memory of x, which the kernel above may still have to read
                backend.upload(Tensor.of(Shape.of(COUNT), numbers), scope.floats(COUNT));
                assertEquals(2 * DeviceMemory.sizeClass((long) COUNT * Float.BYTES), backend.liveBytes());
            }
            for (int i = 0; i < COUNT; i++) {
                expected[i] = Math.abs(expected[i]);
            }
            assertArrayEquals(expected, backend.download(y).toArray());
        }
    }

    /** Each product of codes copies tables of a few bytes: what the device has not yet read is neither overwritten nor waited for. */
    @Test
    void tablesOfManyLayersAreAskedForBeforeTheDeviceDoesAnything() {
        gpu.set("counted", 1);
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard()); Scope scope = backend.scope()) {
            View x = scope.floats(8);
            backend.upload(Tensor.of(Shape.of(8), 1, 2, 3, 4, 5, 6, 7, 8), x);
            backend.decoded(x, grid(0), scope.floats(8));
            backend.download(x);
            long before = gpu.counts("decode_dense_f32").launches();
            View sum = scope.floats(8);
            backend.zero(sum);
            View y = scope.floats(8);
            double[] expected = new double[8];
            for (int layer = 0; layer < 1000; layer++) {
                backend.decoded(x, grid(layer), y);
                backend.add(sum, y, sum);
                for (int i = 0; i < 8; i++) {
                    expected[i] += grid(layer).value(i + 1);
                }
            }
            assertEquals(before, gpu.counts("decode_dense_f32").launches());
            float[] found = backend.download(sum).toArray();
            assertEquals(before + 1000, gpu.counts("decode_dense_f32").launches());
            for (int i = 0; i < 8; i++) {
                assertEquals(expected[i], found[i], 1e-3 * expected[i]);
            }
            // and around the ring
            for (int layer = 0; layer < 20_000; layer++) {
                backend.decoded(x, grid(layer), y);
            }
            assertEquals(grid(19_999).value(3), backend.download(y).toArray()[2]);
        }
    }

    private static CodeGrid grid(int layer) {
        return CodeGrid.of(CodeRange.unlimited(0.1f + 0.001f * (layer % 97), -128, 127));
    }

    @Test
    void pinnedArraysOfSeveralPiecesKeepTheirNumbers() {
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard()); Scope scope = backend.scope()) {
            CudaDevice device = backend.cudaDevice();
            // pieces that end amid rows, the last one shorter
            HostBuffer host = new HostBuffer(DataType.FLOAT32, 1000, device, 124);
            float[] numbers = Arrays.copyOf(random(3), 1000);
            View x = scope.floats(1000);
            View y = scope.floats(1000);
            backend.upload(Tensor.of(Shape.of(1000), numbers), x);
            View all = View.over(host, 1000);
            backend.copy(x, all);
            backend.copy(all.slice(0, 100, 107), y.slice(0, 0, 7));
            backend.copy(all.slice(0, 31, 1000), y.slice(0, 7, 976));
            float[] found = backend.download(y.slice(0, 0, 976)).toArray();
            assertArrayEquals(Arrays.copyOfRange(numbers, 100, 107), Arrays.copyOf(found, 7));
            assertArrayEquals(Arrays.copyOfRange(numbers, 31, 1000), Arrays.copyOfRange(found, 7, 976));
            host.release();
            assertThrows(BackendException.class, () -> backend.copy(x, all));
        }
    }

    private static float[] random(long seed) {
        Random random = new Random(seed);
        float[] numbers = new float[COUNT];
        for (int i = 0; i < COUNT; i++) {
            numbers[i] = random.nextFloat() - 0.5f;
        }
        return numbers;
    }
}
