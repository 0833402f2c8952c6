package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Softmax by cuDNN beside our own kernels: who computes it, and how far the results are apart. */
@EnabledIf("hasDevice")
class CudnnTest {
    private static final double U = 0x1p-24;

    static boolean hasDevice() {
        return EmulatedGpu.isReplaced() || EmulatedGpu.isBuilt();
    }

    @AfterEach
    void restore() {
        System.clearProperty(KernelTimes.PROPERTY);
    }

    /** The output of a softmax and a gradient. */
    private record Results(float[] y, float[] dx) {
    }

    @Test
    void cudnnComputesAndOurKernelOnlyScales() {
        System.setProperty(KernelTimes.PROPERTY, "true");
        try (CudaBackend backend = WithCudnn.open()) {
            results(backend, 3, 5, 1);
            assertEquals(Set.of("cuDNN"), backend.scoringSeconds().keySet());
            results(backend, 3, 5, 0.5f);
            assertEquals(Set.of("cuDNN", Kernel.MULTIPLY_REPEATED_F32.entry()), backend.scoringSeconds().keySet());
        }
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            results(backend, 3, 5, 0.5f);
            assertEquals(Set.of(Kernel.SOFTMAX_FORWARD_F32.entry(), Kernel.SOFTMAX_BACKWARD_F32.entry()),
                    backend.scoringSeconds().keySet());
        }
    }

    @Test
    void theDeviceTellsWhatComputesSoftmax() {
        try (CudaBackend backend = WithCudnn.open(); CudaBackend own = new CudaBackend(CudaSettings.standard())) {
            assertEquals("cudnn", backend.device().softmax());
            assertTrue(backend.device().device().endsWith("softmax by cuDNN " + Cudnn.version()), backend.device().device());
            assertEquals(DeviceInfo.OWN, own.device().softmax());
            assertTrue(!own.device().device().contains("cuDNN"), own.device().device());
        }
    }

    /** The last one has more rows than a grid has blocks in y. */
    @ParameterizedTest(name = "{0} x {1}")
    @CsvSource({"1, 1", "394, 197", "3, 4098", "70001, 3"})
    void theResultsAreThoseOfOurKernelsUpToRounding(int rows, int columns) {
        Results theirs;
        Results ours;
        try (CudaBackend backend = WithCudnn.open()) {
            theirs = results(backend, rows, columns, 0.125f);
        }
        try (CudaBackend backend = new CudaBackend(CudaSettings.standard())) {
            ours = results(backend, rows, columns, 0.125f);
        }
        // both round the argument of the exponential, which is below 1 in size, and a sum of positive numbers
        double relative = 2 * U * (8 + Math.sqrt(columns));
        double worstY = 0;
        double worstDx = 0;
        float[] dy = gradient(rows, columns).toArray();
        for (int row = 0; row < rows; row++) {
            double sum = 0;
            for (int i = row * columns; i < (row + 1) * columns; i++) {
                sum += ours.y[i] * Math.abs(dy[i]);
            }
            for (int i = row * columns; i < (row + 1) * columns; i++) {
                worstY = Math.max(worstY, Math.abs(theirs.y[i] - ours.y[i]) / (relative * ours.y[i]));
                double scale = 3 * relative * 0.125 * ours.y[i] * (Math.abs(dy[i]) + sum);
                worstDx = Math.max(worstDx, Math.abs(theirs.dx[i] - ours.dx[i]) / scale);
            }
        }
        String words = String.format(Locale.ROOT, "softmax of %d x %d, cuDNN's and ours differ by %.3f of what rounding may do,"
                + " the gradient by %.3f", rows, columns, worstY, worstDx);
        System.out.println(words);
        assertTrue(worstY <= 1 && worstDx <= 1, words);
    }

    private static Results results(CudaBackend backend, int rows, int columns, float scale) {
        try (Scope scope = backend.scope()) {
            View x = scope.floats(rows, columns);
            View y = scope.floats(rows, columns);
            View dy = scope.floats(rows, columns);
            backend.upload(numbers(1, rows, columns), x);
            backend.upload(gradient(rows, columns), dy);
            backend.softmax(x, scale, y);
            backend.softmaxBackward(y, dy, scale, dy);
            return new Results(backend.download(y).toArray(), backend.download(dy).toArray());
        }
    }

    private static Tensor gradient(int rows, int columns) {
        return numbers(2, rows, columns);
    }

    private static Tensor numbers(long seed, int rows, int columns) {
        Random random = new Random(seed);
        float[] numbers = new float[rows * columns];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) random.nextGaussian();
        }
        return Tensor.of(Shape.of(rows, columns), numbers);
    }
}
