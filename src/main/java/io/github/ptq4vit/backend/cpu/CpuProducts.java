package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.RowTransform;
import io.github.ptq4vit.backend.View;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.dnnl.global.dnnl;

/** The products of the forward and backward pass: float32, and of codes. */
final class CpuProducts {
    private static final int F32 = dnnl.dnnl_f32;
    private static final String[] SCALES = {"scale of range 0", "scale of range 1"};
    private static final String[] CODES_A = {"codes a of range 0", "codes a of range 1"};
    private static final String[] CODES_B = {"codes b"};

    /** Finding a product by these few numbers takes much less time than by all that it consists of. */
    private record LinearKey(int ranges, int rows, int inputs, int outputs, boolean bias, boolean integer) {
    }

    /** The same of attention: strides are those of the result. */
    private record MatmulKey(int ranges, int n, int k, int m, boolean transposed, CodeForm form, long rowStride, long columnStride) {
    }

    private final Coder first;
    private final Coder unsigned;
    private final Coder second;

    CpuProducts(IntegerPath path) {
        this.first = new Coder(path.first());
        this.unsigned = path == IntegerPath.INT8 ? new Coder(CodeForm.UNSIGNED) : first;
        this.second = new Coder(path.second());
    }

    void linear(Worker worker, View x, CpuLinear weights, View y) {
        weights.requireUsable(false);
        long rows = x.elements() / weights.inputs();
        Worker.Product product = new Worker.Product(Layout.dense(F32, rows, weights.inputs()),
                Layout.packed(F32, weights.inputs(), weights.outputs()), weights.bias().isPresent(),
                Layout.dense(F32, rows, weights.outputs()), Epilogue.NONE);
        long packed = weights.packedFor(worker, product, weights.transposed());
        Primitive primitive = worker.product(product).primitive();
        if (weights.bias().isPresent()) {
            primitive.run(CpuBuffer.address(x), packed, weights.bias().get(), CpuBuffer.address(y));
        } else {
            primitive.run(CpuBuffer.address(x), packed, CpuBuffer.address(y));
        }
    }

    void linearBackward(Worker worker, View dy, CpuLinear weights, View dx) {
        weights.requireUsable(false);
        long rows = dx.elements() / weights.inputs();
        Worker.Product product = new Worker.Product(Layout.dense(F32, rows, weights.outputs()),
                Layout.packed(F32, weights.outputs(), weights.inputs()), false, Layout.dense(F32, rows, weights.inputs()),
                Epilogue.NONE);
        long packed = weights.packedFor(worker, product, Layout.dense(F32, weights.outputs(), weights.inputs()));
        worker.product(product).primitive().run(CpuBuffer.address(dy), packed, CpuBuffer.address(dx));
    }

    void quantizedLinear(Worker worker, View x, RowTransform transform, CodeGrid grid, CpuLinear weights, View y) {
        weights.requireUsable(true);
        int rows = Math.toIntExact(x.elements() / weights.inputs());
        if (grid.rows() == RowScale.RANGE) {
            linearOfRows(worker, x, transform, grid, weights, rows, y);
            return;
        }
        int ranges = grid.ranges().size();
        Layout plain = weights.transposed();
        LinearKey key = new LinearKey(ranges, rows, weights.inputs(), weights.outputs(), weights.bias().isPresent(),
                weights.isInteger());
        CodeProduct product = worker.cached(key, () -> new CodeProduct(worker, first.form(), ranges, rows, weights.inputs(),
                key.integer ? Layout.packed(plain.type(), weights.inputs(), weights.outputs()) : plain, CodeProduct.Scales.COLUMNS, key.bias,
                Layout.dense(F32, rows, weights.outputs())));
        long[] codes;
        if (transform.isNone()) {
            codes = encode(worker, first, CpuBuffer.address(x), 1, Math.toIntExact(x.elements()), grid, new int[ranges][1]);
        } else {
            codes = rooms(worker, first, CODES_A, ranges, x.elements());
            RowCoder.encode(first.form(), CpuBuffer.address(x), rows, weights.inputs(), transform, grid, codes);
        }
        long b = product.packedFor().isPresent() ? weights.packedFor(worker, product.packedFor().get(), plain) : weights.plain();
        product.run(codes, same(b, ranges), weights.scales(grid), weights.bias().orElse(0L), CpuBuffer.address(y));
    }

    /** With a range of its own for each row of x: products without bias, then {@code y = y * range + bias}. */
    private void linearOfRows(Worker worker, View x, RowTransform transform, CodeGrid grid, CpuLinear weights, int rows, View y) {
        int ranges = grid.ranges().size();
        Layout plain = weights.transposed();
        LinearKey key = new LinearKey(ranges, rows, weights.inputs(), weights.outputs(), false, weights.isInteger());
        CodeProduct product = worker.cached(key, () -> new CodeProduct(worker, first.form(), ranges, rows, weights.inputs(),
                key.integer ? Layout.packed(plain.type(), weights.inputs(), weights.outputs()) : plain, CodeProduct.Scales.COLUMNS, false,
                Layout.dense(F32, rows, weights.outputs())));
        long[] codes = rooms(worker, first, CODES_A, ranges, (long) rows * weights.inputs());
        float[] sizes = RowCoder.encode(first.form(), CpuBuffer.address(x), rows, weights.inputs(), transform, grid, codes);
        long b = product.packedFor().isPresent() ? weights.packedFor(worker, product.packedFor().get(), plain) : weights.plain();
        product.run(codes, same(b, ranges), weights.scales(grid), 0L, CpuBuffer.address(y));
        float[] bias = weights.bias().map(address -> CpuBuffer.array(address, weights.outputs())).orElse(new float[weights.outputs()]);
        FloatBuffer numbers = CpuBuffer.floats(y);
        float[] row = new float[weights.outputs()];
        for (int i = 0; i < rows; i++) {
            numbers.get(i * row.length, row);
            multiplyAndAdd(row, sizes[i], bias);
            numbers.put(i * row.length, row);
        }
    }

    private static void multiplyAndAdd(float[] row, float factor, float[] bias) {
        for (int i = 0; i < row.length; i++) {
            row[i] = row[i] * factor + bias[i];
        }
    }

    void quantizedMatmul(Worker worker, View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        for (int image = 0; image < a.size(0); image++) {
            matmulOfImage(worker, a.at(image), gridsA, b.at(image), gridsB, c.at(image));
        }
    }

    /** Of one image, {@code [heads, n, k]} times {@code [heads, k, m]}: head by head, whose numbers and codes fit the cache. */
    private void matmulOfImage(Worker worker, View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        boolean negative = hasNegative(gridsA);
        for (int head = 0; head < a.size(0); head++) {
            matmulOfHead(worker, a.at(head), grid(gridsA, head), negative, b.at(head), grid(gridsB, head), c.at(head));
        }
    }

    private void matmulOfHead(Worker worker, View a, CodeGrid gridA, boolean negative, View b, CodeGrid gridB, View c) {
        int n = a.size(0);
        int k = a.size(1);
        int m = b.size(1);
        int ranges = gridA.ranges().size();
        boolean rowsOfA = gridA.rows() == RowScale.RANGE;
        boolean rowsOfB = gridB.rows() == RowScale.RANGE;
        boolean transposed = rowsOfB || b.stride(0) == 1;
        Coder coder = negative || rowsOfA ? first : unsigned;
        MatmulKey key = new MatmulKey(ranges, n, k, m, transposed, coder.form(), c.stride(0), c.stride(1));
        CodeProduct product = worker.cached(key, () -> new CodeProduct(worker, coder.form(), ranges, n, k,
                transposed ? Layout.dense(second.form().type(), m, k).transposed() : Layout.dense(second.form().type(), k, m),
                CodeProduct.Scales.ONE, false, Layout.of(c)));
        int[][] sums = new int[ranges][n];
        float[] sizesOfA = new float[0];
        long numbersA = gathered(worker, "gathered a", a);
        long[] left;
        if (rowsOfA) {
            left = rooms(worker, first, CODES_A, ranges, (long) n * k);
            sizesOfA = RowCoder.encode(first.form(), numbersA, n, k, RowTransform.NONE, gridA, left);
        } else {
            left = encode(worker, coder, numbersA, n, k, gridA, sums);
        }
        float[] sizesOfB = new float[0];
        long numbersB = gathered(worker, "gathered b", transposed ? b.transpose() : b);
        long[] right;
        if (rowsOfB) {
            right = rooms(worker, second, CODES_B, 1, (long) m * k);
            sizesOfB = RowCoder.encode(second.form(), numbersB, m, k, RowTransform.NONE, gridB, right);
        } else {
            right = encode(worker, second, numbersB, 1, k * m, gridB, new int[1][1]);
        }
        long[] scales = new long[ranges];
        for (int range = 0; range < ranges; range++) {
            Scratch scale = worker.memory(SCALES[range], Float.BYTES);
            scale.floats().put(0, gridA.ranges().get(range).step() * gridB.ranges().get(0).step());
            scales[range] = scale.address();
        }
        product.run(left, same(right[0], ranges), scales, 0, CpuBuffer.address(c));
        if (gridA.rows() == RowScale.SUM) {
            scaleRows(c, sums(gridA, sums, coder.form(), left, n, k), true, sizesOfB);
        } else if (rowsOfA || rowsOfB) {
            scaleRows(c, sizesOfA, false, sizesOfB);
        }
    }

    private static long[] rooms(Worker worker, Coder coder, String[] names, int ranges, long count) {
        long[] codes = new long[ranges];
        for (int range = 0; range < ranges; range++) {
            codes[range] = worker.scratch(names[range], count * coder.form().bytes());
        }
        return codes;
    }

    /** What the codes of each row stand for together; 1 if that is 0. */
    private static float[] sums(CodeGrid grid, int[][] codeSums, CodeForm form, long[] codes, int n, int k) {
        double[] sums = new double[n];
        for (int range = 0; range < codes.length; range++) {
            if (grid.table().isEmpty()) {
                addCodes(form, codes[range], n, k, codeSums[range]);
            }
            for (int row = 0; row < n; row++) {
                sums[row] += (double) codeSums[range][row] * grid.ranges().get(range).step();
            }
        }
        float[] divisors = new float[n];
        for (int row = 0; row < n; row++) {
            divisors[row] = sums[row] == 0 ? 1 : (float) sums[row];
        }
        return divisors;
    }

    /** Multiplies rows, or divides them, and multiplies columns; factors may be missing. */
    private static void scaleRows(View c, float[] rows, boolean divide, float[] columns) {
        int n = c.size(0);
        int m = c.size(1);
        FloatBuffer numbers = CpuBuffer.at(CpuBuffer.address(c), Math.toIntExact(Float.BYTES * ((n - 1) * c.stride(0)
                + (m - 1) * c.stride(1) + 1))).asFloatBuffer();
        boolean dense = c.stride(1) == 1 || m == 1;
        float[] row = new float[m];
        for (int i = 0; i < n; i++) {
            int start = Math.toIntExact(i * c.stride(0));
            for (int j = 0; j < m && !dense; j++) {
                row[j] = numbers.get(start + (int) (j * c.stride(1)));
            }
            if (dense) {
                numbers.get(start, row);
            }
            if (rows.length > 0) {
                scale(row, rows[i], divide);
            }
            for (int j = 0; j < columns.length; j++) {
                row[j] *= columns[j];
            }
            for (int j = 0; j < m && !dense; j++) {
                numbers.put(start + (int) (j * c.stride(1)), row[j]);
            }
            if (dense) {
                numbers.put(start, row);
            }
        }
    }

    private static void scale(float[] row, float by, boolean divide) {
        if (divide) {
            for (int j = 0; j < row.length; j++) {
                row[j] /= by;
            }
        } else {
            for (int j = 0; j < row.length; j++) {
                row[j] *= by;
            }
        }
    }

    private static void addCodes(CodeForm form, long codes, int n, int k, int[] sums) {
        byte[] row = new byte[k * form.bytes()];
        ByteBuffer all = CpuBuffer.at(codes, Math.multiplyExact(n, row.length));
        FloatBuffer floats = ByteBuffer.wrap(row).order(ByteOrder.nativeOrder()).asFloatBuffer();
        for (int i = 0; i < n; i++) {
            all.get(i * row.length, row);
            for (int j = 0; j < k; j++) {
                sums[i] += form == CodeForm.NUMBERS ? (int) floats.get(j) : form.shift() == 0 ? row[j] : (row[j] & 0xff) - form.shift();
            }
        }
    }

    private static boolean hasNegative(List<CodeGrid> grids) {
        for (CodeGrid grid : grids) {
            for (CodeRange range : grid.ranges()) {
                if (range.min() < 0) {
                    return true;
                }
            }
        }
        return false;
    }

    private static CodeGrid grid(List<CodeGrid> grids, int head) {
        return grids.get(grids.size() == 1 ? 0 : head);
    }

    /** The elements of a strided window, row-major: where they are if they are so already. */
    static long gathered(Worker worker, String purpose, View view) {
        if (view.isDense()) {
            return CpuBuffer.address(view);
        }
        long copy = worker.scratch(purpose, view.elements() * Float.BYTES);
        Layout dense = Layout.dense(F32, IntStream.of(view.sizes()).asLongStream().toArray());
        worker.copy(Layout.of(view), dense).run(CpuBuffer.address(view), copy);
        return copy;
    }

    /** @param sums of the codes of each row, for each range; set for a table only */
    private long[] encode(Worker worker, Coder coder, long numbers, int rows, int columns, CodeGrid grid, int[][] sums) {
        long count = (long) rows * columns;
        long[] codes = rooms(worker, coder, coder == second ? CODES_B : CODES_A, grid.ranges().size(), count);
        for (int range = 0; range < codes.length; range++) {
            if (grid.table().isPresent()) {
                TableCoder.encode(coder.form(), numbers, rows, columns, grid.table().get(), range, codes[range], sums[range]);
            } else {
                coder.encode(worker, numbers, count, grid, range, codes[range]);
            }
        }
        return codes;
    }

    private static long[] same(long address, int count) {
        long[] addresses = new long[count];
        Arrays.fill(addresses, address);
        return addresses;
    }
}
