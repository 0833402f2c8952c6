package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.HostOperations;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.View;
import java.util.List;
import java.util.Optional;

/**
 * Products of codes. Operands become matrices of codes whose rows run along k and are padded with zeros to a multiple of
 * {@link #PADDING}: {@code [ranges, images, heads, rows, padded k]}. The tiles that multiply them never look for the end of k.
 */
final class IntegerProducts {
    /** Numbers that a warp has at a time, see {@code cuda-kernels/hadamard.cuh}. */
    static final int LARGEST_HADAMARD_BLOCK = 128;
    /** Codes that a tile takes of a row at a time. */
    static final int PADDING = 64;
    /** Beyond that many products of codes -128 an int32 sum could overflow. */
    private static final int LONGEST = (1 << 17) - 1;
    private static final int SMALL_TILE = 64;
    private static final int LARGE_TILE = 128;
    /** Size of {@code RowRange} of {@code cuda-kernels/codes.cuh}. */
    private static final int ROW_RANGE_BYTES = Float.BYTES + Integer.BYTES;

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
            Codes a = quantize(scope, x.reshape(1, 1, rows, weights.inputs()), List.of(grid));
            multiply(a, new Codes(weights.weights(), 1, 0, 1, 0), y.reshape(1, 1, rows, weights.outputs()), Optional.of(weights));
        }
    }

    /** {@code y = Q(T(x)) W^T + b}, whose blocks are no larger than {@link #LARGEST_HADAMARD_BLOCK}. */
    void linear(View x, RowTransform transform, CodeGrid grid, Backend.Linear linear, View y) {
        CudaLinear weights = CudaLinear.of(linear, true);
        int rows = Math.toIntExact(x.elements() / weights.inputs());
        try (CudaScope scope = new CudaScope(device.memory())) {
            multiply(quantize(scope, x, rows, weights.inputs(), transform, grid), new Codes(weights.weights(), 1, 0, 1, 0),
                    y.reshape(1, 1, rows, weights.outputs()), Optional.of(weights));
        }
    }

    /** {@code c = Q(a) Q(b)} of {@code [images, heads, n, k]} and {@code [images, heads, k, m]}; any strides. */
    void matmul(View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        checkLength(a.size(3));
        try (CudaScope scope = new CudaScope(device.memory())) {
            multiply(quantize(scope, a, gridsA), quantize(scope, b.transpose(), gridsB), c, Optional.empty());
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

    /**
     * Codes of a batch of matrices.
     *
     * @param ranges of codes
     * @param grids address of the grids, if they are not weights
     * @param gridCount one for all or one a head
     * @param rows address of the rows' ranges; 0 for none
     */
    private record Codes(View view, int ranges, long grids, int gridCount, long rows) {
    }

    /** Codes of {@code [images, heads, rows, k]}, any strides, k last in the result. */
    private Codes quantize(CudaScope scope, View x, List<CodeGrid> grids) {
        int padded = padded(x.size(3));
        int ranges = grids.stream().mapToInt(grid -> grid.ranges().size()).max().orElseThrow();
        long rows = (long) x.size(0) * x.size(1) * x.size(2);
        View codes = View.over(scope.buffer(DataType.INT8, ranges * rows * padded), ranges, x.size(0), x.size(1), x.size(2), padded);
        long[] shape = {x.size(0), x.size(1), x.size(2), x.size(3), padded, ranges, x.stride(0), x.stride(1), x.stride(2),
                x.stride(3)};
        long table = GridTable.upload(device, scope, grids);
        int rowBlocks = (x.size(2) + PADDING - 1) / PADDING;
        long batches = Math.min(65535L, (long) x.size(0) * x.size(1));
        long rowRanges = 0;
        if (grids.stream().anyMatch(grid -> grid.rows() == RowScale.RANGE)) {
            rowRanges = scope.buffer(DataType.INT8, rows * ROW_RANGE_BYTES).address();
            device.launch(Kernel.RANGE_ROWS_F32).words(shape).view(x).address(rowRanges).address(table).integer(grids.size())
                    .blocks(1, rowBlocks, batches);
        }
        device.launch(Kernel.QUANTIZE_MATRIX_S8).words(shape).view(x).view(codes).address(table).integer(grids.size())
                .address(rowRanges).blocks(padded / PADDING, rowBlocks, batches);
        return new Codes(codes, ranges, table, grids.size(), rowRanges);
    }

    /** Codes of dense rows that are transformed before. */
    private Codes quantize(CudaScope scope, View x, int rows, int k, RowTransform transform, CodeGrid grid) {
        int padded = padded(k);
        int ranges = grid.ranges().size();
        View codes = View.over(scope.buffer(DataType.INT8, (long) ranges * rows * padded), ranges, 1, 1, rows, padded);
        long table = GridTable.upload(device, scope, List.of(grid));
        long rowRanges = grid.rows() == RowScale.RANGE ? scope.buffer(DataType.INT8, (long) rows * ROW_RANGE_BYTES).address() : 0;
        Launch launch = device.launch(Kernel.QUANTIZE_TRANSFORMED_S8).view(x);
        transform.factors().ifPresentOrElse(launch::view, () -> launch.address(0));
        transform.shifts().ifPresentOrElse(launch::view, () -> launch.address(0));
        launch.view(codes).count(rows).integer(k).integer(padded).integer(ranges).integer(transform.hadamard())
                .number(HostOperations.hadamardFactor(transform.hadamard())).address(table).address(rowRanges).overRows(rows);
        return new Codes(codes, ranges, table, 1, rowRanges);
    }

    /** @param layer whose weights b is, if any */
    private void multiply(Codes a, Codes b, View c, Optional<CudaLinear> layer) {
        int n = c.size(2);
        int m = c.size(3);
        boolean large = n > SMALL_TILE && m > SMALL_TILE;
        int tile = large ? LARGE_TILE : SMALL_TILE;
        Launch launch = device.launch(large ? Kernel.MATMUL_TILE128_S8 : Kernel.MATMUL_TILE64_S8)
                .words(n, m, a.view.size(-1), c.size(0), c.size(1), a.ranges, a.gridCount, b.gridCount, c.stride(0), c.stride(1),
                        c.stride(2), c.stride(3))
                .view(a.view).view(b.view).view(c).address(a.grids).address(b.grids).address(a.rows).address(b.rows);
        layer.flatMap(CudaLinear::steps).ifPresentOrElse(launch::view, () -> launch.address(0));
        layer.flatMap(CudaLinear::bias).ifPresentOrElse(launch::view, () -> launch.address(0));
        launch.blocks((m + tile - 1) / tile, (n + tile - 1) / tile, Math.min(65535L, (long) c.size(0) * c.size(1)));
    }
}
