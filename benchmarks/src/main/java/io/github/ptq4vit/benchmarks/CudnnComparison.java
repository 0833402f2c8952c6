package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.BackendException;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.backend.cuda.CudaBackend;
import io.github.ptq4vit.backend.cuda.CudaSettings;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Our softmax and patch embedding beside cuDNN's, in speed and in result, at ViT-B/16's shapes with 32 images. cuDNN has no
 * argument for the scale inside of a softmax: it is paid for by a kernel of ours before, and the time is that of both.
 */
final class CudnnComparison {
    private static final CudaSettings WITH_CUDNN = new CudaSettings(List.of(0), false, true, false, true);
    private static final long FLUSHED_BYTES = 1L << 28;

    private final boolean small;
    private final int runs;

    /** Numbers of one side. */
    private record Side(double forward, double forwardUnscaled, double backward, float[] y, float[] dx) {
    }

    CudnnComparison(boolean small) {
        this.small = small;
        this.runs = small ? 3 : 21;
    }

    /** Prints the tables, or why there are none. */
    void print() {
        CudaBackend opened;
        try {
            opened = new CudaBackend(WITH_CUDNN);
        } catch (BackendException e) {
            GpuKernels.row("%n### cuDNN%n%nNot compared. %s", e.getMessage());
            return;
        }
        try (CudaBackend cudnn = opened; CudaBackend own = new CudaBackend(CudaSettings.standard())) {
            softmaxes(own, cudnn);
            convolutions(own);
        }
    }

    private void softmaxes(CudaBackend own, CudaBackend cudnn) {
        int rows = small ? 13 : 32 * 12 * 197;
        int columns = small ? 17 : 197;
        GpuKernels.title("softmax, ours and cuDNN's: " + rows + " x " + columns + " float32",
                "| operation | ours (ms) | cuDNN (ms) | cuDNN to ours | largest difference of results |");
        Side ours = softmax(own, rows, columns);
        Side theirs = softmax(cudnn, rows, columns);
        compared("softmax", ours.forwardUnscaled, theirs.forwardUnscaled, "");
        compared("softmax of scaled rows, as attention has it", ours.forward, theirs.forward, apart(ours.y, theirs.y));
        compared("gradient", ours.backward, theirs.backward, apart(ours.dx, theirs.dx));
    }

    private Side softmax(CudaBackend backend, int rows, int columns) {
        try (Scope scope = backend.scope()) {
            KernelClock clock = clock(backend, scope);
            View x = rows(backend, scope, 1, rows, columns);
            View dy = rows(backend, scope, 2, rows, columns);
            View y = scope.floats(rows, columns);
            View dx = scope.floats(rows, columns);
            double unscaled = clock.seconds(() -> backend.softmax(x, 1, y));
            double forward = clock.seconds(() -> backend.softmax(x, 0.125f, y));
            double backward = clock.seconds(() -> backend.softmaxBackward(y, dy, 0.125f, dx));
            return new Side(forward, unscaled, backward, backend.download(y).toArray(), backend.download(dx).toArray());
        }
    }

    /** Ours is what calibration needs anyway: patches in rows, whose codes are searched, and a product. */
    private void convolutions(CudaBackend own) {
        int images = small ? 2 : 32;
        int side = small ? 12 : 224;
        int patch = small ? 4 : 16;
        int outputs = small ? 5 : 768;
        int across = side / patch;
        int tokens = across * across;
        Tensor pixels = RandomNumbers.normal(1, 1, images, 3, side, side);
        Tensor weight = RandomNumbers.normal(2, 1, outputs, 3, patch, patch);
        GpuKernels.title("patch embedding, ours and cuDNN's convolution: " + images + " images of " + side
                + " pixels, patches of " + patch + ", " + outputs + " outputs, float32",
                "| operation | ours (ms) | cuDNN (ms) | cuDNN to ours | largest difference of results |");
        float[] ours;
        double unfold;
        double product;
        try (Scope scope = own.scope()) {
            KernelClock clock = clock(own, scope);
            View x = uploaded(own, scope, pixels);
            Backend.Linear weights = own.linear(scope, weight.reshape(outputs, 3 * patch * patch), Optional.empty());
            View patches = scope.floats(images, across, across, 3, patch, patch);
            View y = scope.floats(images * tokens, outputs);
            View windows = x.split(2, across).split(4, across).permute(0, 2, 4, 1, 3, 5);
            View rows = patches.reshape(images * tokens, 3 * patch * patch);
            unfold = clock.seconds(() -> own.copy(windows, patches));
            product = clock.seconds(() -> own.linear(rows, weights, y));
            View turned = scope.floats(images, outputs, tokens);
            own.copy(y.reshape(images, tokens, outputs).permute(0, 2, 1), turned);
            ours = own.download(turned).toArray();
        }
        try (CudnnConvolution convolution = new CudnnConvolution(pixels, weight)) {
            double theirs = convolution.seconds(runs, small ? 1 << 14 : FLUSHED_BYTES);
            compared("patches unfolded and multiplied by cuBLAS; convolution by cuDNN (" + convolution.words()
                    + "), whose result is still to be transposed", unfold + product, theirs, apart(ours, convolution.result()));
            compared("the product alone", product, theirs, "");
        }
    }

    private KernelClock clock(Backend backend, Scope scope) {
        return new KernelClock(backend, scope.floats(small ? 1 << 12 : (int) (FLUSHED_BYTES / Float.BYTES)), runs);
    }

    private static void compared(String what, double ours, double theirs, String difference) {
        GpuKernels.row("| %s | %.4f | %.4f | %.2f | %s |", what, 1e3 * ours, 1e3 * theirs, theirs / ours, difference);
    }

    /** Relative to the largest number of the first. */
    private static String apart(float[] first, float[] second) {
        double most = 0;
        double largest = 0;
        for (int i = 0; i < first.length; i++) {
            most = Math.max(most, Math.abs(first[i] - second[i]));
            largest = Math.max(largest, Math.abs(first[i]));
        }
        return String.format(Locale.ROOT, "%.2g of the largest number", most / largest);
    }

    /** Equal rows, repeated on the device. */
    private static View rows(Backend backend, Scope scope, long seed, int rows, int columns) {
        View x = scope.floats(rows, columns);
        backend.zero(x);
        backend.add(x, uploaded(backend, scope, RandomNumbers.normal(seed, 1, columns)), x);
        return x;
    }

    private static View uploaded(Backend backend, Scope scope, Tensor numbers) {
        View view = scope.floats(numbers.shape().toArray());
        backend.upload(numbers, view);
        return view;
    }
}
