package io.github.ptq4vit.backend.cpu;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/**
 * Which arithmetic multiplies codes. Processors without VNNI may saturate sums of two products at 16 bits; one product of
 * extreme codes shows it.
 */
enum IntegerPath {
    /** Codes as bytes, int32 sums. */
    INT8("int8 products, exact", CodeForm.SHIFTED, CodeForm.SIGNED),
    /** Codes as float32 numbers, exact for short enough k. */
    FLOAT32("float32 products of codes (int8 products saturate on this processor)", CodeForm.NUMBERS, CodeForm.NUMBERS);

    private final String words;
    private final CodeForm first;
    private final CodeForm second;

    IntegerPath(String words, CodeForm first, CodeForm second) {
        this.words = words;
        this.first = first;
        this.second = second;
    }

    String words() {
        return words;
    }

    /** Of a product's first factor. */
    CodeForm first() {
        return first;
    }

    /** Of its second factor. */
    CodeForm second() {
        return second;
    }

    /** Multiplies rows of extreme codes and looks whether the sums are right. */
    static IntegerPath probe(Worker worker) {
        int n = 4;
        int k = 64;
        int m = 16;
        int[] extremes = {-128, 127};
        long first = worker.scratch("probe a", (long) n * k);
        ByteBuffer a = CpuBuffer.at(first, n * k);
        for (int i = 0; i < n * k; i++) {
            a.put(i, (byte) (extremes[i / k % 2] + CodeForm.SHIFTED.shift()));
        }
        long second = worker.scratch("probe b", (long) k * m);
        ByteBuffer b = CpuBuffer.at(second, k * m);
        for (int i = 0; i < k * m; i++) {
            b.put(i, (byte) extremes[i % m % 2]);
        }
        Scratch result = worker.memory("probe c", (long) n * m * Float.BYTES);
        new CodeProduct(worker, CodeForm.SHIFTED, 1, n, k, Layout.dense(CodeForm.SIGNED.type(), k, m), CodeProduct.Scales.ONE, false,
                Layout.dense(CodeForm.NUMBERS.type(), n, m))
                .run(new long[] {first}, new long[] {second}, new long[] {worker.scalar(1)}, 0, result.address());
        FloatBuffer c = result.floats();
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
