package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import java.nio.ByteBuffer;
import java.util.List;

/** Grids as the kernels read them: {@code CodeGrid} of {@code cuda-kernels/codes.cuh}, one after the other. */
final class GridTable {
    /** Size of one in bytes: two ranges of five words, their number, and whether the nearest rule holds. */
    static final int BYTES = 12 * Integer.BYTES;

    private GridTable() {
    }

    /** Copies grids to memory that the scope owns; returns its address. */
    static long upload(CudaDevice device, CudaScope scope, List<CodeGrid> grids) {
        return Tables.upload(device, scope, (long) grids.size() * BYTES, words -> grids.forEach(grid -> write(grid, words)));
    }

    private static void write(CodeGrid grid, ByteBuffer words) {
        for (int range = 0; range < 2; range++) {
            CodeRange r = grid.ranges().get(Math.min(range, grid.ranges().size() - 1));
            words.putFloat(r.step()).putFloat(r.from()).putFloat(r.to()).putInt(r.min()).putInt(r.max());
        }
        words.putInt(grid.ranges().size()).putInt(grid.nearest() ? 1 : 0);
    }
}
