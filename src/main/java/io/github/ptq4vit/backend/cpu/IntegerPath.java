package io.github.ptq4vit.backend.cpu;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import org.bytedeco.dnnl.global.dnnl;

/**
 * Which arithmetic multiplies codes. Processors without VNNI may saturate sums of two products at 16 bits; one product of
 * extreme codes shows it.
 */
enum IntegerPath {
    /** int8 codes, int32 sums. */
    INT8("int8 products, exact"),
    /** Codes as float32 numbers, exact for short enough k. */
    FLOAT32("float32 products of codes (int8 products saturate on this processor)");

    private final String words;

    IntegerPath(String words) {
        this.words = words;
    }

    String words() {
        return words;
    }

    int codeType() {
        return this == INT8 ? dnnl.dnnl_s8 : dnnl.dnnl_f32;
    }

    /** Multiplies rows of extreme codes and looks whether the sums are right. */
    static IntegerPath probe(Worker worker) {
        int n = 4;
        int k = 64;
        int m = 16;
        ByteBuffer a = CpuBuffer.at(worker.scratch("probe a", (long) n * k), n * k);
        ByteBuffer b = CpuBuffer.at(worker.scratch("probe b", (long) k * m), k * m);
        byte[] extremes = {-128, 127};
        for (int i = 0; i < n * k; i++) {
            a.put(i, extremes[i / k % 2]);
        }
        for (int i = 0; i < k * m; i++) {
            b.put(i, extremes[i % m % 2]);
        }
        Layout result = Layout.dense(dnnl.dnnl_f32, n, m);
        long destination = worker.scratch("probe c", (long) n * m * Float.BYTES);
        worker.product(new Worker.Product(Layout.dense(dnnl.dnnl_s8, n, k), Layout.dense(dnnl.dnnl_s8, k, m), false, result,
                Epilogue.NONE)).primitive().run(worker.scratch("probe a", 0), worker.scratch("probe b", 0), destination);
        FloatBuffer c = CpuBuffer.at(destination, n * m * Float.BYTES).asFloatBuffer();
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < m; j++) {
                if (c.get(i * m + j) != (float) (k * extremes[i % 2] * extremes[j % 2])) {
                    return FLOAT32;
                }
            }
        }
        return INT8;
    }
}
