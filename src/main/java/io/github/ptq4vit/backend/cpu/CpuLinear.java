package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.CodeGrid;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.global.dnnl;

/**
 * Weights {@code [outputs, inputs]} in native memory, float32 or codes, and their packed forms: oneDNN wants another
 * layout for each direction and sometimes for other row counts, so each is made when it is first asked for.
 */
final class CpuLinear implements Backend.Linear {
    private final int inputs;
    private final int outputs;
    private final long plain;
    private final boolean integer;
    private final Optional<Long> bias;
    private final Optional<Long> scales;
    private final CpuScope owner;
    private final Map<Object, Packed> packed = new ConcurrentHashMap<>();
    private float[][] byInputs;
    private final Map<CodeGrid, long[]> productScales = new ConcurrentHashMap<>();

    /**
     * @param plain address of {@code [outputs, inputs]} numbers, float32 or int8
     * @param bias address of {@code [outputs]} float32
     * @param scales address of {@code [outputs]} float32, with codes
     */
    CpuLinear(CpuScope owner, int inputs, int outputs, long plain, boolean integer, Optional<Long> bias,
            Optional<Long> scales) {
        this.owner = owner;
        this.inputs = inputs;
        this.outputs = outputs;
        this.plain = plain;
        this.integer = integer;
        this.bias = bias;
        this.scales = scales;
    }

    @Override
    public int inputs() {
        return inputs;
    }

    @Override
    public int outputs() {
        return outputs;
    }

    Optional<Long> bias() {
        return bias;
    }

    /** For each range of the input's grid the address of what a sum of products of codes is worth, {@code [outputs]}. */
    long[] scales(CodeGrid grid) {
        return productScales.computeIfAbsent(grid, g -> {
            FloatBuffer own = CpuBuffer.at(scales.orElseThrow(), outputs * Float.BYTES).asFloatBuffer();
            return g.ranges().stream().mapToLong(range -> {
                long address = owner.bytes((long) outputs * Float.BYTES).address();
                FloatBuffer products = CpuBuffer.at(address, outputs * Float.BYTES).asFloatBuffer();
                for (int output = 0; output < outputs; output++) {
                    products.put(output, range.step() * own.get(output));
                }
                return address;
            }).toArray();
        });
    }

    /** Throws unless the weights are codes, or numbers, as asked, and their scope is open. */
    void requireUsable(boolean quantized) {
        owner.requireOpen();
        if (scales.isPresent() != quantized) {
            throw new IllegalArgumentException(quantized ? "These weights are not quantised" : "These weights are quantised");
        }
    }

    boolean isInteger() {
        return integer;
    }

    long plain() {
        return plain;
    }

    /** A copy of float32 weights, for each input a row with the outputs, made when it is first asked for. */
    synchronized float[][] byInputs() {
        if (byInputs == null) {
            byInputs = new float[inputs][outputs];
            float[] weights = CpuBuffer.array(plain, outputs * inputs);
            for (int i = 0; i < weights.length; i++) {
                byInputs[i % inputs][i / inputs] = weights[i];
            }
        }
        return byInputs;
    }

    /** {@code [inputs, outputs]} as a transposed window on the plain weights. */
    Layout transposed() {
        return Layout.dense(integer ? dnnl.dnnl_s8 : dnnl.dnnl_f32, outputs, inputs).transposed();
    }

    /** Address of the weights in the layout that a product asks for; {@code view} is the plain memory as the product sees it. */
    long packedFor(Worker worker, Worker.Product product, Layout view) {
        Worker.Compiled compiled = worker.product(product);
        Packed known = packed.get(product);
        if (known == null) {
            known = pack(worker, product, view, compiled);
        }
        return known.address;
    }

    private synchronized Packed pack(Worker worker, Worker.Product product, Layout view, Worker.Compiled compiled) {
        for (Packed other : packed.values()) {
            if (other.view.equals(view) && dnnl.dnnl_memory_desc_equal(other.layout, compiled.weights()) != 0) {
                packed.put(product, other);
                return other;
            }
        }
        long address = owner.bytes(compiled.weightBytes()).address();
        worker.pack(view, product, plain, address);
        Packed fresh = new Packed(view, compiled.weights(), address);
        packed.put(product, fresh);
        return fresh;
    }

    private record Packed(Layout view, dnnl_memory_desc layout, long address) {
    }
}
