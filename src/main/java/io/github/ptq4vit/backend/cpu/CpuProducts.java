package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.CodeRange;
import io.github.ptq4vit.backend.RowScale;
import io.github.ptq4vit.backend.View;
import java.nio.ByteBuffer;
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
        long rows = rows(x, weights.inputs(), y, weights.outputs());
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
        long rows = rows(dx, weights.inputs(), dy, weights.outputs());
        Worker.Product product = new Worker.Product(Layout.dense(F32, rows, weights.outputs()),
                Layout.packed(F32, weights.outputs(), weights.inputs()), false, Layout.dense(F32, rows, weights.inputs()),
                Epilogue.NONE);
        long packed = weights.packedFor(worker, product, Layout.dense(F32, weights.outputs(), weights.inputs()));
        worker.product(product).primitive().run(CpuBuffer.address(dy), packed, CpuBuffer.address(dx));
    }

    void quantizedLinear(Worker worker, View x, CodeGrid grid, CpuLinear weights, View y) {
        weights.requireUsable(true);
        int rows = Math.toIntExact(rows(x, weights.inputs(), y, weights.outputs()));
        int ranges = grid.withoutRowScale().ranges().size();
        Layout plain = weights.transposed();
        LinearKey key = new LinearKey(ranges, rows, weights.inputs(), weights.outputs(), weights.bias().isPresent(),
                weights.isInteger());
        CodeProduct product = worker.cached(key, () -> new CodeProduct(worker, first.form(), ranges, rows, weights.inputs(),
                key.integer ? Layout.packed(plain.type(), weights.inputs(), weights.outputs()) : plain, true, key.bias,
                Layout.dense(F32, rows, weights.outputs())));
        long[] codes = encode(worker, first, CpuBuffer.address(x), x.elements(), grid);
        long b = product.packedFor().isPresent() ? weights.packedFor(worker, product.packedFor().get(), plain) : weights.plain();
        product.run(codes, same(b, ranges), weights.scales(grid), weights.bias().orElse(0L), CpuBuffer.address(y));
    }

    void quantizedMatmul(Worker worker, View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        if (gridsB.get(0).ranges().size() != 1) {
            throw new IllegalArgumentException("Only the left operand of a product may have two ranges of codes");
        }
        gridsB.forEach(CodeGrid::withoutRowScale);
        for (int image = 0; image < a.size(0); image++) {
            matmulOfImage(worker, a.at(image), gridsA, b.at(image), gridsB, c.at(image));
        }
    }

    /** Of one image, {@code [heads, n, k]} times {@code [heads, k, m]}: head by head, whose numbers and codes fit the cache. */
    private void matmulOfImage(Worker worker, View a, List<CodeGrid> gridsA, View b, List<CodeGrid> gridsB, View c) {
        int n = a.size(1);
        int k = a.size(2);
        int m = b.size(2);
        boolean transposed = b.stride(1) == 1;
        int ranges = gridsA.get(0).ranges().size();
        Coder coder = hasNegative(gridsA) ? first : unsigned;
        MatmulKey key = new MatmulKey(ranges, n, k, m, transposed, coder.form(), c.stride(1), c.stride(2));
        CodeProduct product = worker.cached(key, () -> new CodeProduct(worker, coder.form(), ranges, n, k,
                transposed ? Layout.dense(second.form().type(), m, k).transposed() : Layout.dense(second.form().type(), k, m),
                false, false, Layout.of(c.at(0))));
        for (int head = 0; head < a.size(0); head++) {
            CodeGrid gridA = grid(gridsA, head);
            CodeGrid gridB = grid(gridsB, head);
            long[] left = encode(worker, coder, gathered(worker, "gathered a", a.at(head)), (long) n * k, gridA);
            View right = transposed ? b.at(head).transpose() : b.at(head);
            long codes = encode(worker, second, gathered(worker, "gathered b", right), (long) k * m, gridB)[0];
            long[] scales = new long[ranges];
            for (int range = 0; range < ranges; range++) {
                Scratch scale = worker.memory(SCALES[range], Float.BYTES);
                scale.floats().put(0, gridA.ranges().get(range).step() * gridB.ranges().get(0).step());
                scales[range] = scale.address();
            }
            product.run(left, same(codes, ranges), scales, 0, CpuBuffer.address(c.at(head)));
            if (gridA.rows() == RowScale.SUM) {
                divideBySums(gridA, coder.form(), left, n, k, c.at(head));
            }
        }
    }

    /** Divides each row of c by what the codes of the row of a stand for together. */
    private static void divideBySums(CodeGrid grid, CodeForm form, long[] codes, int n, int k, View c) {
        double[] sums = new double[n];
        for (int range = 0; range < codes.length; range++) {
            ByteBuffer own = CpuBuffer.at(codes[range], Math.toIntExact((long) n * k * form.bytes()));
            for (int row = 0; row < n; row++) {
                int sum = 0;
                for (int i = row * k; i < (row + 1) * k; i++) {
                    sum += form == CodeForm.NUMBERS ? (int) own.getFloat(i * Float.BYTES) : (own.get(i) & 0xff) - form.shift();
                }
                sums[row] += (double) sum * grid.ranges().get(range).step();
            }
        }
        FloatBuffer numbers = CpuBuffer.at(CpuBuffer.address(c), Math.toIntExact(Float.BYTES * ((n - 1) * c.stride(0)
                + (c.size(1) - 1) * c.stride(1) + 1))).asFloatBuffer();
        for (int row = 0; row < n; row++) {
            float divisor = sums[row] == 0 ? 1 : (float) sums[row];
            for (int column = 0; column < c.size(1); column++) {
                int at = (int) (row * c.stride(0) + column * c.stride(1));
                numbers.put(at, numbers.get(at) / divisor);
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

    static long rows(View x, int inputs, View y, int outputs) {
        if (!x.isDense() || !y.isDense() || x.size(-1) != inputs || y.size(-1) != outputs
                || x.elements() / inputs != y.elements() / outputs) {
            throw new IllegalArgumentException("A layer with " + inputs + " inputs and " + outputs
                    + " outputs takes as many dense rows of each, not " + x + " and " + y);
        }
        return x.elements() / inputs;
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

    private long[] encode(Worker worker, Coder coder, long numbers, long count, CodeGrid grid) {
        long[] codes = new long[grid.ranges().size()];
        for (int range = 0; range < codes.length; range++) {
            codes[range] = worker.scratch((coder == second ? CODES_B : CODES_A)[range], count * coder.form().bytes());
            coder.encode(worker, numbers, count, grid, range, codes[range]);
        }
        return codes;
    }

    private static long[] same(long address, int count) {
        long[] addresses = new long[count];
        Arrays.fill(addresses, address);
        return addresses;
    }
}
