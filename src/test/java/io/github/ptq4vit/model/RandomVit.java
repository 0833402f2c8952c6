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
    public static VisionTransformer of(VitConfig config, long seed) {
        Random random = new Random(seed);
        int d = config.dim();
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("cls_token", normal(random, 0.5, 1, 1, d));
        if (config.distilled()) {
            tensors.put("dist_token", normal(random, 0.5, 1, 1, d));
        }
        tensors.put("pos_embed", normal(random, 0.3, 1, config.tokens(), d));
        tensors.put("patch_embed.proj.weight", normal(random, 1 / Math.sqrt(config.patchElements()), d, config.channels(),
                config.patchSize(), config.patchSize()));
        tensors.put("patch_embed.proj.bias", normal(random, 0.1, d));
        for (int block = 0; block < config.depth(); block++) {
            String name = config.block(block);
            norm(tensors, random, name + ".norm1", d);
            linear(tensors, random, name + ".attn.qkv", 3 * d, d, 1.5);
            linear(tensors, random, name + ".attn.proj", d, d, 1);
            norm(tensors, random, name + ".norm2", d);
            linear(tensors, random, name + ".mlp.fc1", config.hidden(), d, 1);
            linear(tensors, random, name + ".mlp.fc2", d, config.hidden(), 1);
        }
        norm(tensors, random, "norm", d);
        for (Layer head : config.headLayers()) {
            linear(tensors, random, head.name(), config.classes(), d, 1.5);
        }
        return new VisionTransformer(config, tensors, Map.of());
    }

    /** The same model with one tensor replaced. */
    public static VisionTransformer with(VisionTransformer model, String name, Tensor tensor) {
        Map<String, Tensor> tensors = new LinkedHashMap<>(model.tensors());
        tensors.put(name, tensor);
        return new VisionTransformer(model.config(), tensors, model.metadata());
    }

    /** Normally distributed images. */
    public static Tensor images(VitConfig config, int count, long seed) {
        return normal(new Random(seed), 1, count, config.channels(), config.imageSize(), config.imageSize());
    }

    private static void norm(Map<String, Tensor> tensors, Random random, String name, int length) {
        Tensor gamma = normal(random, 0.3, length);
        for (int i = 0; i < length; i++) {
            gamma.data().put(i, 1 + gamma.data().get(i));
        }
        tensors.put(name + ".weight", gamma);
        tensors.put(name + ".bias", normal(random, 0.2, length));
    }

    private static void linear(Map<String, Tensor> tensors, Random random, String name, int outputs, int inputs, double gain) {
        tensors.put(name + ".weight", normal(random, gain / Math.sqrt(inputs), outputs, inputs));
        tensors.put(name + ".bias", normal(random, 0.1, outputs));
    }

    private static Tensor normal(Random random, double deviation, int... sizes) {
        float[] numbers = new float[Math.toIntExact(Shape.of(sizes).elements())];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) (deviation * random.nextGaussian());
        }
        return Tensor.of(Shape.of(sizes), numbers);
    }
}
