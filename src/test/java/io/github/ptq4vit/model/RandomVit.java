package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/** Small vision transformers of random weights: activations of unit size, attention that prefers some tokens. */
public final class RandomVit {
    private RandomVit() {
    }

    /** A model; equal arguments make equal models. */
    public static VisionTransformer of(Architecture config, long seed) {
        Random random = new Random(seed);
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        config.tensors().forEach((name, shape) -> tensors.put(name, tensor(random, name, shape.toArray())));
        return new VisionTransformer(config, tensors, Map.of());
    }

    /** The same model with one tensor replaced. */
    public static VisionTransformer with(VisionTransformer model, String name, Tensor tensor) {
        Map<String, Tensor> tensors = new LinkedHashMap<>(model.tensors());
        tensors.put(name, tensor);
        return new VisionTransformer(model.config(), tensors, model.metadata());
    }

    /** Normally distributed images. */
    public static Tensor images(Architecture config, int count, long seed) {
        return normal(new Random(seed), 0, 1, count, config.channels(), config.imageSize(), config.imageSize());
    }

    private static Tensor tensor(Random random, String name, int... sizes) {
        if (name.endsWith("_token")) {
            return normal(random, 0, 0.5, sizes);
        }
        if (name.endsWith("pos_embed") || name.endsWith("bias_table")) {
            return normal(random, 0, 0.3, sizes);
        }
        if (name.endsWith("gamma")) {
            return normal(random, 0.7, 0.3, sizes);
        }
        if (sizes.length == 1) {
            boolean norm = name.matches("(.*\\.)?(fc_)?norm[12]?\\.\\w+");
            return name.endsWith(".weight") ? normal(random, 1, 0.3, sizes) : normal(random, 0, norm ? 0.2 : 0.1, sizes);
        }
        double gain = name.endsWith("qkv.weight") || name.startsWith("head") ? 1.5 : 1;
        int inputs = 1;
        for (int axis = 1; axis < sizes.length; axis++) {
            inputs *= sizes[axis];
        }
        return normal(random, 0, gain / Math.sqrt(inputs), sizes);
    }

    private static Tensor normal(Random random, double mean, double deviation, int... sizes) {
        float[] numbers = new float[Math.toIntExact(Shape.of(sizes).elements())];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) (mean + deviation * random.nextGaussian());
        }
        return Tensor.of(Shape.of(sizes), numbers);
    }
}
