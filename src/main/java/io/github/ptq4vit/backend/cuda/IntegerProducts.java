package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Optional;

/**
 * Products of codes. Operands become matrices of codes whose rows run along k and are padded with zeros to a multiple of
 * {@link #PADDING}: {@code [ranges, images, heads, rows, padded k]}. The tiles that multiply them never look for the end of k.
 */
final class IntegerProducts {
    /** Codes that a tile takes of a row at a time. */
    static final int PADDING = 64;
    /** Beyond that many products of codes -128 an int32 sum could overflow. */
    private static final int LONGEST = (1 << 17) - 1;
    private static final int SMALL_TILE = 64;
    private static final int LARGE_TILE = 128;

    private final CudaDevice device;

    IntegerProducts(CudaDevice device) {
        this.device = device;
    }

    /** Prepares integer weights {@code [outputs, inputs]}. */
    CudaLinear weights(CudaScope owner, byte[] codes, float[] steps, int inputs, Optional<View> bias) {
        int outputs = steps.length;
        checkLength(inputs);
        int padded = padded(inputs);
        byte[] rows = new byte[Math.multiplyExact(outputs, padded)];
        for (int output = 0; output < outputs; output++) {
            System.arraycopy(codes, output * inputs, rows, output * padded, inputs);
        }
        View weights = View.over(owner.buffer(DataType.INT8, rows.length), outputs, padded);
        device.transfers().upload((from, piece) -> piece.put(rows, (int) from, piece.remaining()), device.address(weights),
                rows.length);
        View scales = owner.floats(outputs);
        float[] copy = steps.clone();
        device.transfers().upload((from, piece) -> piece.asFloatBuffer().put(copy, (int) (from / Float.BYTES),
                piece.remaining() / Float.BYTES), device.address(scales), (long) outputs * Float.BYTES);
        return new CudaLinear(owner, inputs, outputs, weights, Optional.of(scales), bias);
    }

    /** {@code y = Q(x) W^T + b}. */
    void linear(View x, CodeGrid grid, Backend.Linear linear, View y) {
        CudaLinear weights = CudaLinear.of(linear, true);
        int rows = Math.toIntExact(x.elements() / weights.inputs());
        try (CudaScope scope = new CudaScope(device.memory())) {
            long grids = GridTable.upload(device, scope, List.of(grid));
            Codes a = quantize(scope, x.reshape(1, 1, rows, weights.inputs()), grids, 1, grid.ranges().size());
            multiply(a, weights.weights(), y.reshape(1, 1, rows, weights.outputs()), grids, 1, 0, 1, weights);
        }
    }

    /** {@code c = Q(a) Q(b)} of {@code [images, heads, n, k]} and {@code [images, heads, k, m]}; any strides. */
    void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        checkLength(a.size(3));
        try (CudaScope scope = new CudaScope(device.memory())) {
            long tableA = GridTable.upload(device, scope, gridsA);
            long tableB = GridTable.upload(device, scope, gridsB);
            int ranges = gridsA.stream().mapToInt(grid -> grid.ranges().size()).max().orElseThrow();
            Codes codesA = quantize(scope, a, tableA, gridsA.size(), ranges);
            Codes codesB = quantize(scope, b.transpose(), tableB, gridsB.size(), 1);
            multiply(codesA, codesB.view, c, tableA, gridsA.size(), tableB, gridsB.size(), null);
        }
    }

    /** Throws if sums of so many products of codes may not be exact. */
    static void checkLength(int k) {
        if (k > LONGEST) {
            throw new IllegalArgumentException("Sums of " + k + " products of codes may not fit int32; at most " + LONGEST);
        }
    }

    static int padded(int k) {
        return (k + PADDING - 1) / PADDING * PADDING;
    }

    /** Codes of a batch of matrices in so many ranges. */
    record Codes(View view, int ranges) {
    }

    /** Codes of {@code [images, heads, rows, k]}, any strides, k last in the result. */
    Codes quantize(CudaScope scope, View x, long grids, int gridCount, int ranges) {
        int padded = padded(x.size(3));
        View codes = View.over(scope.buffer(DataType.INT8, (long) ranges * x.size(0) * x.size(1) * x.size(2) * padded), ranges,
                x.size(0), x.size(1), x.size(2), padded);
        device.launch(Kernel.QUANTIZE_MATRIX_S8)
                .words(x.size(0), x.size(1), x.size(2), x.size(3), padded, ranges, x.stride(0), x.stride(1), x.stride(2),
                        x.stride(3))
                .view(x).view(codes).address(grids).integer(gridCount)
                .blocks(padded / PADDING, (x.size(2) + PADDING - 1) / PADDING, Math.min(65535L, (long) x.size(0) * x.size(1)));
        return new Codes(codes, ranges);
    }

    private void multiply(Codes a, View b, View c, long gridsA, int countA, long gridsB, int countB, CudaLinear weights) {
        int n = c.size(2);
        int m = c.size(3);
        boolean large = n > SMALL_TILE && m > SMALL_TILE;
        int tile = large ? LARGE_TILE : SMALL_TILE;
        Launch launch = device.launch(large ? Kernel.MATMUL_TILE128_S8 : Kernel.MATMUL_TILE64_S8)
                .words(n, m, a.view.size(-1), c.size(0), c.size(1), a.ranges, countA, countB, c.stride(0), c.stride(1),
                        c.stride(2), c.stride(3))
                .view(a.view).view(b).view(c).address(gridsA).address(gridsB);
        if (weights == null) {
            launch.address(0).address(0);
        } else {
            launch.view(weights.steps().orElseThrow());
            weights.bias().ifPresentOrElse(launch::view, () -> launch.address(0));
        }
        launch.blocks((m + tile - 1) / tile, (n + tile - 1) / tile, Math.min(65535L, (long) c.size(0) * c.size(1)));
    }
}
