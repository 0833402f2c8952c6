package io.github.ptq4vit.backend;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.IntStream;

/** A backend with inputs that are the same on every side; an operation runs on two sides and the results are compared. */
final class Side implements AutoCloseable {
    final Backend backend;
    final Scope scope;
    private final boolean magnitudes;

    private Side(Backend backend, boolean magnitudes) {
        this.backend = backend;
        this.scope = backend.scope();
        this.magnitudes = magnitudes;
    }

    static Side of(Backend backend) {
        return new Side(backend, false);
    }

    /** Runs an operation and copies the dense view that it returns. */
    static double[] run(Backend backend, Function<Side, View> operation) {
        try (Side side = of(backend)) {
            return side.read(operation.apply(side));
        }
    }

    /** What the plain backend makes of it. */
    static double[] truth(Function<Side, View> operation) {
        try (PlainBackend plain = new PlainBackend()) {
            return run(plain, operation);
        }
    }

    /** The same with the magnitudes of all inputs: for sums of products, the scale of their rounding errors. */
    static double[] magnitudes(Function<Side, View> operation) {
        try (PlainBackend plain = new PlainBackend(); Side side = new Side(plain, true)) {
            return side.read(operation.apply(side));
        }
    }

    double[] read(View dense) {
        if (backend instanceof PlainBackend plain) {
            return plain.read(dense);
        }
        float[] numbers = backend.download(dense).toArray();
        return IntStream.range(0, numbers.length).mapToDouble(i -> numbers[i]).toArray();
    }

    Tensor normalTensor(long seed, int... sizes) {
        Random random = new Random(seed);
        float[] numbers = new float[Math.toIntExact(Shape.of(sizes).elements())];
        for (int i = 0; i < numbers.length; i++) {
            float number = (float) random.nextGaussian();
            numbers[i] = magnitudes ? Math.abs(number) : number;
        }
        return Tensor.of(Shape.of(sizes), numbers);
    }

    /** Normally distributed numbers. */
    View normal(long seed, int... sizes) {
        return upload(normalTensor(seed, sizes));
    }

    /** The same number everywhere. */
    View filled(float number, int... sizes) {
        float[] numbers = new float[Math.toIntExact(Shape.of(sizes).elements())];
        Arrays.fill(numbers, number);
        return upload(Tensor.of(Shape.of(sizes), numbers));
    }

    View upload(Tensor tensor) {
        View view = scope.floats(tensor.shape().toArray());
        backend.upload(tensor, view);
        return view;
    }

    Optional<Tensor> bias(boolean present, int size) {
        return present ? Optional.of(normalTensor(99, size)) : Optional.empty();
    }

    @Override
    public void close() {
        scope.close();
    }
}
