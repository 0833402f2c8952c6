package io.github.ptq4vit.calibrate;

import com.sun.jna.NativeLibrary;
import io.github.ptq4vit.backend.Backend;
import io.github.ptq4vit.backend.DeviceInfo;
import io.github.ptq4vit.backend.Scope;
import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.dnnl.global.dnnl;

/**
 * The kind of float32 arithmetic that a backend has. oneDNN picks its kernels, their vector lengths and block sizes by the
 * processor, and so the order in which a product's terms are added; the emulated GPU takes exponential and error function from
 * the C library, which picks by processor too. Only on one kind of arithmetic are calibrations equal to the last bit.
 *
 * @param fingerprint of the results of a few operations on fixed numbers, and of how integer products are computed
 * @param words processor and libraries: where these are the same, the fingerprint is
 */
record FloatKind(String fingerprint, String words) {
    private static final int ROWS = 50;
    private static final int INNER = 768;
    private static final int OUTER = 192;
    private static final float EPSILON = 1e-6f;

    static FloatKind of(Backend backend) {
        DeviceInfo device = backend.device();
        String library = device.backend().equals("cpu") ? ""
                : ", C library " + NativeLibrary.getInstance("c").getFunction("gnu_get_libc_version").invokeString(new Object[0], false);
        return new FloatKind(LayerDigest.digest(results(backend)), device.device() + library + ", instruction sets 0x"
                + Integer.toHexString(dnnl.dnnl_get_effective_cpu_isa()));
    }

    /** Each operation once, forward and backward, with rows as long as real networks have them. */
    private static byte[] results(Backend backend) {
        ByteArrayOutputStream results = new ByteArrayOutputStream();
        results.writeBytes(backend.device().integerPath().getBytes(StandardCharsets.UTF_8));
        Random random = new Random(1);
        try (Scope scope = backend.scope()) {
            View x = numbers(backend, scope, random, ROWS, INNER);
            View y = scope.floats(ROWS, INNER);
            View gamma = numbers(backend, scope, random, INNER);
            View beta = numbers(backend, scope, random, INNER);
            View gradient = numbers(backend, scope, random, ROWS, INNER);
            Backend.Linear weights = backend.linear(scope, tensor(random, OUTER, INNER), Optional.of(tensor(random, OUTER)));
            View product = scope.floats(ROWS, OUTER);
            backend.linear(x, weights, product);
            add(results, backend, product);
            backend.linearBackward(product, weights, y);
            add(results, backend, y);
            View heads = scope.floats(1, 3, ROWS, ROWS);
            backend.matmul(numbers(backend, scope, random, 1, 3, ROWS, 64), numbers(backend, scope, random, 1, 3, 64, ROWS), heads);
            add(results, backend, heads);
            View rows = scope.floats(1, 3, ROWS, ROWS);
            View back = scope.floats(1, 3, ROWS, ROWS);
            backend.softmax(heads, 0.125f, rows);
            add(results, backend, rows);
            backend.softmaxBackward(rows, heads, 0.125f, back);
            add(results, backend, back);
            backend.layerNorm(x, gamma, beta, EPSILON, y);
            add(results, backend, y);
            backend.layerNormBackward(x, gamma, EPSILON, gradient, y);
            add(results, backend, y);
            backend.gelu(x, y);
            add(results, backend, y);
            backend.geluBackward(x, gradient, y);
            add(results, backend, y);
        }
        return results.toByteArray();
    }

    private static View numbers(Backend backend, Scope scope, Random random, int... sizes) {
        View view = scope.floats(sizes);
        backend.upload(tensor(random, sizes), view);
        return view;
    }

    private static Tensor tensor(Random random, int... sizes) {
        Shape shape = Shape.of(sizes);
        float[] numbers = new float[Math.toIntExact(shape.elements())];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) random.nextGaussian();
        }
        return Tensor.of(shape, numbers);
    }

    private static void add(ByteArrayOutputStream results, Backend backend, View view) {
        float[] numbers = backend.download(view).toArray();
        ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Float.BYTES);
        bytes.asFloatBuffer().put(numbers);
        results.writeBytes(bytes.array());
    }
}
