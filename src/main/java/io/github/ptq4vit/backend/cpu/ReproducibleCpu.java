package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.Checks;
import io.github.ptq4vit.backend.FixedOrder;
import io.github.ptq4vit.backend.HostProducts;
import io.github.ptq4vit.backend.View;
import java.nio.FloatBuffer;

/** The processor with the forward functions of {@link FixedOrder}: numbers pass through Java's arrays, a piece at a time. */
final class ReproducibleCpu extends CpuBackend {
    ReproducibleCpu(CpuBackend shared) {
        super(shared);
    }

    /** Changes the first {@code count} numbers of x. */
    private interface Function {
        void apply(FixedOrder functions, float[] x, int count);
    }

    @Override
    public Backend reproducible() {
        return this;
    }

    @Override
    public void linear(View x, Linear weights, View y) {
        Checks.linear(x, weights, y);
        CpuLinear linear = (CpuLinear) weights;
        linear.requireUsable(false);
        float[][] rows = new float[Math.toIntExact(x.elements() / linear.inputs())][linear.outputs()];
        FixedOrder.product(array(x), linear.byInputs(), rows);
        linear.bias().ifPresent(address -> {
            float[] bias = CpuBuffer.array(address, linear.outputs());
            for (float[] row : rows) {
                FixedOrder.add(row, bias);
            }
        });
        write(rows, y);
    }

    @Override
    public void matmul(View a, View b, View c) {
        HostProducts.matmul(this, a, b, c);
    }

    @Override
    public void layerNorm(View x, View gamma, View beta, float epsilon, View y) {
        Checks.layerNorm(x, gamma, beta, y);
        float[] scale = array(gamma);
        float[] shift = array(beta);
        pieces(x, y, x.size(-1), (functions, row, count) -> functions.layerNorm(row, scale, shift, epsilon));
    }

    @Override
    public void softmax(View x, float scale, View y) {
        Checks.rows(x, y);
        int columns = x.size(-1);
        pieces(x, y, Math.max(1, PIECE / columns) * columns,
                (functions, piece, count) -> functions.softmax(piece, count, columns, scale));
    }

    @Override
    public void gelu(View x, View y) {
        Checks.alike(x, y);
        pieces(x, y, PIECE, FixedOrder::gelu);
    }

    /** Takes x to y in pieces of so many numbers. */
    private static void pieces(View x, View y, int length, Function function) {
        FixedOrder functions = new FixedOrder(Math.toIntExact(Math.min(length, x.elements())));
        pieces(x, y, length, (piece, count) -> function.apply(functions, piece, count));
    }

    private static void write(float[][] rows, View y) {
        FloatBuffer to = CpuBuffer.floats(y);
        for (float[] row : rows) {
            to.put(row);
        }
    }

    /** The elements of a view, row-major. */
    private float[] array(View view) {
        return workers().with(worker -> CpuBuffer.array(CpuProducts.gathered(worker, "gathered", view),
                Math.toIntExact(view.elements())));
    }

    /** Nothing: what it shares is closed with its owner. */
    @Override
    public void close() {
    }
}
