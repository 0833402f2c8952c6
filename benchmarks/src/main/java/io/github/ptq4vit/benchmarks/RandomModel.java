package io.github.ptq4vit.benchmarks;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import javax.imageio.ImageIO;

/** Weights and images of random numbers on disk: speed does not depend on what a model has learnt. */
final class RandomModel {
    private RandomModel() {
    }

    /** Writes weights whose activations stay of unit size, with timm's names. */
    static void weights(Architecture config, Path file) {
        SafetensorsWriter writer = new SafetensorsWriter();
        config.tensors().forEach((name, shape) -> writer.add(name, shape, () -> tensor(name, shape)));
        writer.write(file);
    }

    private static Tensor tensor(String name, Shape shape) {
        int[] sizes = shape.toArray();
        if (sizes.length == 1 && name.endsWith(".weight")) {
            Tensor scale = RandomNumbers.normal(name.hashCode(), 0.2, sizes);
            float[] numbers = scale.toArray();
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] += 1;
            }
            return Tensor.of(shape, numbers);
        }
        int inputs = 1;
        for (int axis = 1; axis < sizes.length; axis++) {
            inputs *= sizes[axis];
        }
        boolean matrix = name.endsWith(".weight");
        return RandomNumbers.normal(name.hashCode(), matrix ? 1 / Math.sqrt(inputs) : 0.1, sizes);
    }

    /** Writes PNG files of noise, {@code side x side}. */
    static void images(int count, int side, Path folder) throws IOException {
        Files.createDirectories(folder);
        Random random = new Random(side);
        for (int i = 0; i < count; i++) {
            BufferedImage image = new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB);
            image.setRGB(0, 0, side, side, random.ints((long) side * side).toArray(), 0, side);
            ImageIO.write(image, "png", folder.resolve(String.format("noise_%03d.png", i)).toFile());
        }
    }
}
