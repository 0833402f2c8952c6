package io.github.ptq4vit;

import io.github.ptq4vit.model.Layer;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.quant.QuantizedLayer;
import io.github.ptq4vit.quant.Quantizer;
import io.github.ptq4vit.quant.TwinRule;
import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import javax.imageio.ImageIO;

/** A random vision transformer of two blocks, and images for it. */
public final class TinyModel {
    public static final int CLASSES = 7;
    private static final int DIM = 32;
    private static final int HEADS = 2;
    private static final int DEPTH = 2;
    private static final int SIZE = 32;
    private static final int PATCH = 8;
    private static final int HIDDEN = 48;

    private TinyModel() {
    }

    /** Random weights under timm's names. */
    public static Map<String, Tensor> tensors(long seed) {
        Random random = new Random(seed);
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("cls_token", random(random, 1, 1, 1, DIM));
        tensors.put("pos_embed", random(random, 0.3, 1, 1 + SIZE / PATCH * SIZE / PATCH, DIM));
        tensors.put("patch_embed.proj.weight", random(random, 0.1, DIM, 3, PATCH, PATCH));
        tensors.put("patch_embed.proj.bias", random(random, 0.1, DIM));
        for (int i = 0; i < DEPTH; i++) {
            String block = "blocks." + i + ".";
            norm(tensors, block + "norm1");
            linear(tensors, random, block + "attn.qkv", 3 * DIM, DIM);
            linear(tensors, random, block + "attn.proj", DIM, DIM);
            norm(tensors, block + "norm2");
            linear(tensors, random, block + "mlp.fc1", HIDDEN, DIM);
            linear(tensors, random, block + "mlp.fc2", DIM, HIDDEN);
        }
        norm(tensors, "norm");
        linear(tensors, random, "head", CLASSES, DIM);
        return tensors;
    }

    /** Writes tensors as a file that tells the number of heads. */
    public static Path write(Path file, Map<String, Tensor> tensors) {
        SafetensorsWriter writer = new SafetensorsWriter().metadata("num_heads", String.valueOf(HEADS));
        tensors.forEach(writer::add);
        writer.write(file);
        return file;
    }

    /** A model by way of a file. */
    public static VisionTransformer model(Path folder) {
        return ModelReader.read(write(folder.resolve("tiny.safetensors"), tensors(1)), OptionalInt.empty());
    }

    /** Layers of that model quantised to the nearest, with quantisers of every kind. */
    public static List<QuantizedLayer> quantize(VisionTransformer model, int bits) {
        List<QuantizedLayer> layers = new ArrayList<>();
        for (Layer layer : model.config().layers()) {
            switch (layer.role()) {
                case QUERY_KEY -> layers.add(new QuantizedLayer(layer.name(), uniforms(bits, 0.05f, 0.04f),
                        uniforms(bits, 0.03f, 0.06f), new byte[0]));
                case PROBABILITY_VALUE -> layers.add(new QuantizedLayer(layer.name(),
                        List.of(new Quantizer.SoftmaxTwin(4, bits, TwinRule.FREE)), uniforms(bits, 0.03f, 0.05f), new byte[0]));
                case PATCH_EMBEDDING -> layers.add(weights(model, layer, List.of(), DIM, bits));
                case QKV -> layers.add(weights(model, layer, uniforms(bits, 0.02f), 3, bits));
                case FC2 -> layers.add(weights(model, layer, List.of(Quantizer.GeluTwin.of(0.021f, bits, TwinRule.FREE)), 1,
                        bits));
                default -> layers.add(weights(model, layer, uniforms(bits, 0.025f), 1, bits));
            }
        }
        return layers;
    }

    /** The units of a calibration, as a calibrator names them. */
    public static Map<String, List<QuantizedLayer>> units(List<QuantizedLayer> layers) {
        Map<String, List<QuantizedLayer>> units = new LinkedHashMap<>();
        for (QuantizedLayer layer : layers) {
            String[] name = layer.name().split("\\.");
            String unit = name[0].equals("blocks") ? "blocks." + name[1] : name[0].equals("head") ? "head" : "embedding";
            units.computeIfAbsent(unit, key -> new ArrayList<>()).add(layer);
        }
        return units;
    }

    /** Writes PNG images {@code image0.png} onwards. */
    public static Path images(Path folder, int count) throws IOException {
        Files.createDirectories(folder);
        Random random = new Random(count);
        for (int i = 0; i < count; i++) {
            BufferedImage image = new BufferedImage(40, 36, BufferedImage.TYPE_INT_RGB);
            int tone = random.nextInt(0xffffff);
            for (int y = 0; y < 36; y++) {
                for (int x = 0; x < 40; x++) {
                    image.setRGB(x, y, tone ^ (x * y * 0x010305) ^ random.nextInt(0x202020));
                }
            }
            ImageIO.write(image, "png", folder.resolve("image" + i + ".png").toFile());
        }
        return folder;
    }

    /** Labels for those images. */
    public static Path labels(Path file, int count) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < count; i++) {
            lines.append("image").append(i).append(".png ").append(i % CLASSES).append('\n');
        }
        return Files.writeString(file, lines);
    }

    private static QuantizedLayer weights(VisionTransformer model, Layer layer, List<Quantizer> left, int groups, int bits) {
        float[] weight = model.weight(layer).toArray();
        List<Quantizer> right = new ArrayList<>();
        int size = weight.length / groups;
        for (int g = 0; g < groups; g++) {
            float largest = 0;
            for (int i = g * size; i < (g + 1) * size; i++) {
                largest = Math.max(largest, Math.abs(weight[i]));
            }
            right.add(new Quantizer.Uniform(largest / ((1 << bits - 1) - 0.5f), bits));
        }
        return new QuantizedLayer(layer.name(), left, right, QuantizedLayer.codes(weight, right));
    }

    private static List<Quantizer> uniforms(int bits, float... scales) {
        List<Quantizer> list = new ArrayList<>();
        for (float scale : scales) {
            list.add(new Quantizer.Uniform(scale, bits));
        }
        return list;
    }

    private static void norm(Map<String, Tensor> tensors, String name) {
        float[] ones = new float[DIM];
        java.util.Arrays.fill(ones, 1);
        tensors.put(name + ".weight", Tensor.of(Shape.of(DIM), ones));
        tensors.put(name + ".bias", Tensor.zeros(DIM));
    }

    private static void linear(Map<String, Tensor> tensors, Random random, String name, int outputs, int inputs) {
        tensors.put(name + ".weight", random(random, 1.5 / Math.sqrt(inputs), outputs, inputs));
        tensors.put(name + ".bias", random(random, 0.1, outputs));
    }

    /** Normally distributed. */
    public static Tensor random(Random random, double deviation, int... sizes) {
        Tensor tensor = Tensor.zeros(sizes);
        for (int i = 0; i < tensor.data().limit(); i++) {
            tensor.data().put(i, (float) (deviation * random.nextGaussian()));
        }
        return tensor;
    }
}
