package io.github.ptq4vit.backend.cuda;

import io.github.ptq4vit.backend.DataType;
import io.github.ptq4vit.backend.View;
import java.util.Arrays;
import java.util.Optional;

/** Float32 products: by cuBLAS where it is there and knows the strides, else by our own kernel. */
final class FloatProducts {
    private static final int TILE = 64;

    private final CudaDevice device;
    private final Optional<Blas> blas;

    FloatProducts(CudaDevice device, Optional<Blas> blas) {
        this.device = device;
        this.blas = blas;
    }

    /** {@code c = a b}, batched over any leading axes; any strides. */
    void multiply(View a, View b, View c) {
        int rank = c.rank();
        if (a.rank() != rank || b.rank() != rank || a.size(-1) != b.size(-2) || c.size(-2) != a.size(-2)
                || c.size(-1) != b.size(-1) || !sameBatch(a, c) || !sameBatch(b, c)) {
            throw new IllegalArgumentException("Cannot multiply " + a + " with " + b + " to " + c);
        }
        if (rank > 4) {
            for (int i = 0; i < c.size(0); i++) {
                multiply(a.at(i), b.at(i), c.at(i));
            }
        } else if (c.elements() > 0) {
            multiply(batch(a), batch(b), batch(c), new View[] {a, b, c});
        }
    }

    private static boolean sameBatch(View a, View b) {
        return Arrays.equals(a.sizes(), 0, a.rank() - 2, b.sizes(), 0, b.rank() - 2);
    }

    private void multiply(Batch a, Batch b, Batch c, View[] views) {
        if (blas.isPresent() && a.known() && b.known() && c.known()) {
            if (c.byRows()) {
                // cuBLAS sees matrices transposed, so it is asked for c' = b' a'
                multiply(b.transposed(), a.transposed(), c.transposed());
            } else {
                multiply(a, b, c);
            }
            return;
        }
        device.launch(Kernel.MATMUL_TILED_F32)
                .words(c.rows, a.columns, c.columns, c.images, c.heads,
                        a.imageStride, a.headStride, a.rowStride, a.columnStride,
                        b.imageStride, b.headStride, b.rowStride, b.columnStride,
                        c.imageStride, c.headStride, c.rowStride, c.columnStride)
                .view(views[0]).view(views[1]).view(views[2])
                .blocks((c.columns + TILE - 1) / TILE, (c.rows + TILE - 1) / TILE, Math.min(65535L, c.images * c.heads));
    }

    /** By cuBLAS: c lies column after column. One call if the two leading axes are one in memory, else one an entry of the shorter. */
    private void multiply(Batch a, Batch b, Batch c) {
        boolean merged = a.merges() && b.merges() && c.merges();
        boolean overHeads = merged || c.heads >= c.images;
        long calls = merged ? 1 : Math.min(c.images, c.heads);
        long batch = c.images * c.heads / calls;
        for (long call = 0; call < calls; call++) {
            blas.orElseThrow().multiply((int) c.rows, (int) a.columns, (int) c.columns, a.operand(call, overHeads),
                    b.operand(call, overHeads), c.operand(call, overHeads), (int) batch);
        }
    }

    private Batch batch(View view) {
        if (view.buffer().type() != DataType.FLOAT32) {
            throw new IllegalArgumentException("A product in float32 does not take " + view);
        }
        return new Batch(device.address(view), view.rank() > 2 ? view.size(0) : 1, view.rank() > 3 ? view.size(1) : 1,
                view.size(-2), view.size(-1), view.rank() > 2 ? view.stride(0) : 0, view.rank() > 3 ? view.stride(1) : 0,
                view.stride(-2), view.stride(-1));
    }

    /** Where the matrices {@code [rows, columns]} of {@code [images, heads]} lie. */
    private record Batch(long address, long images, long heads, long rows, long columns, long imageStride, long headStride,
            long rowStride, long columnStride) {
        Batch transposed() {
            return new Batch(address, images, heads, columns, rows, imageStride, headStride, columnStride, rowStride);
        }

        boolean byRows() {
            return (columnStride == 1 || columns == 1) && (rows == 1 || rowStride >= columns);
        }

        boolean byColumns() {
            return transposed().byRows();
        }

        /** Whether cuBLAS can say where the elements of a matrix are. */
        boolean known() {
            return (byRows() || byColumns()) && rowStride < Integer.MAX_VALUE && columnStride < Integer.MAX_VALUE;
        }

        boolean merges() {
            return images == 1 || heads == 1 || imageStride == heads * headStride;
        }

        Blas.Operand operand(long call, boolean overHeads) {
            boolean transposed = !byColumns();
            // the distance of the only row or column is never used, but cuBLAS wants it to be possible
            long leading = transposed ? rows == 1 ? columns : rowStride : columns == 1 ? rows : columnStride;
            long first = address + Float.BYTES * call * (overHeads ? imageStride : headStride);
            long stride = heads == 1 || !overHeads ? imageStride : headStride;
            return new Blas.Operand(first, transposed, (int) leading, stride);
        }
    }
}
