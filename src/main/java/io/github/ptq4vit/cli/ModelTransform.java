package io.github.ptq4vit.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * The transform that a float32 model was trained with: what its file says ({@code mean}, {@code std}, {@code crop_pct} of
 * the safetensors metadata), else a {@code config.json} beside it (at its top or in {@code pretrained_cfg}, as timm writes
 * it), else what is usual: DeiT has ImageNet's mean and deviation, ViT 0.5; crop 0.9, at 384 pixels 1.
 */
final class ModelTransform {
    private static final String MEAN = "mean";
    private static final String STD = "std";
    private static final String CROP = "crop_pct";
    private static final int LARGE = 384;

    private ModelTransform() {
    }

    static ImageTransform of(VisionTransformer model, Path file) {
        Map<String, String> known = new HashMap<>(beside(file));
        known.putAll(model.metadata());
        boolean imagenet = !(model.config() instanceof VitConfig vit) || vit.prefix().distillationToken() || nameHasDeit(file);
        int size = model.config().imageSize();
        try {
            Channels mean = channels(known, MEAN).orElse(imagenet ? ImageTransform.IMAGENET_MEAN : ImageTransform.HALF);
            Channels std = channels(known, STD).orElse(imagenet ? ImageTransform.IMAGENET_STD : ImageTransform.HALF);
            double crop = known.containsKey(CROP) ? Double.parseDouble(known.get(CROP).strip()) : size == LARGE ? 1 : 0.9;
            return ImageTransform.timm(size, crop, mean, std);
        } catch (IllegalArgumentException e) {
            throw new ModelException(file + ": its metadata or config.json describes no image transform: " + e.getMessage(), e);
        }
    }

    private static Optional<Channels> channels(Map<String, String> known, String name) {
        if (!known.containsKey(name)) {
            return Optional.empty();
        }
        String[] numbers = known.get(name).replaceAll("[\\[\\]()]", "").strip().split("[,:\\s]+");
        if (numbers.length != 3) {
            throw new IllegalArgumentException(name + " is \"" + known.get(name) + "\", expected are three numbers");
        }
        return Optional.of(new Channels(Float.parseFloat(numbers[0]), Float.parseFloat(numbers[1]),
                Float.parseFloat(numbers[2])));
    }

    private static Map<String, String> beside(Path file) {
        Path config = file.resolveSibling("config.json");
        Map<String, String> known = new HashMap<>();
        if (!Files.isRegularFile(config)) {
            return known;
        }
        try {
            JsonNode root = Console.reader().readTree(Files.readAllBytes(config));
            for (JsonNode node : new JsonNode[] {root, root.path("pretrained_cfg")}) {
                for (String name : new String[] {MEAN, STD, CROP}) {
                    if (node.has(name)) {
                        known.put(name, node.get(name).isValueNode() ? node.get(name).asText() : node.get(name).toString());
                    }
                }
            }
        } catch (JsonProcessingException e) {
            throw new ModelException(config + ": is not JSON; repair or remove it", e);
        } catch (IOException e) {
            throw new ModelException(config + ": cannot be read (" + e.getMessage() + ")", e);
        }
        return known;
    }

    private static boolean nameHasDeit(Path file) {
        return ModelSource.name(file).toLowerCase(Locale.ROOT).contains("deit")
                || file.getFileName().toString().toLowerCase(Locale.ROOT).contains("deit");
    }
}
