package io.github.ptq4vit.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.image.ImageTransform.Fit;
import io.github.ptq4vit.image.ResizeFilter;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.model.ModelReader;
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
 * the safetensors metadata), else a {@code preprocessor_config.json} beside it as Hugging Face writes it, else a
 * {@code config.json} (at its top or in {@code pretrained_cfg}, as timm writes it), else what is usual for the model.
 */
final class ModelTransform {
    private static final String MEAN = "mean";
    private static final String STD = "std";
    private static final String CROP = "crop_pct";
    private static final String FILTER = "interpolation";
    private static final int LARGE = 384;
    private static final double WHITE = 255;

    private ModelTransform() {
    }

    static ImageTransform of(VisionTransformer model, Path file, Optional<KnownModel> known) {
        Path processor = file.resolveSibling("preprocessor_config.json");
        boolean stated = model.metadata().containsKey(MEAN) || model.metadata().containsKey(CROP);
        if (!stated && Files.isRegularFile(processor)) {
            try {
                return processor(json(processor)).forInput(model.config().imageSize());
            } catch (IllegalArgumentException e) {
                throw new ModelException(processor + ": describes no image transform that can be done: " + e.getMessage(), e);
            }
        }
        Map<String, String> facts = usual(model, file, known);
        facts.putAll(beside(file));
        facts.putAll(model.metadata());
        try {
            ResizeFilter filter = ResizeFilter.valueOf(facts.get(FILTER).strip().toUpperCase(Locale.ROOT));
            double crop = Double.parseDouble(facts.get(CROP).strip());
            return ImageTransform.timm(model.config().imageSize(), crop, channels(facts, MEAN), channels(facts, STD))
                    .with("filter=" + filter.word());
        } catch (IllegalArgumentException e) {
            throw new ModelException(file + ": its metadata or config.json describes no image transform: " + e.getMessage(), e);
        }
    }

    /** What a model of its kind is usually trained with. */
    private static Map<String, String> usual(VisionTransformer model, Path file, Optional<KnownModel> known) {
        Map<String, String> facts = new HashMap<>();
        Architecture config = model.config();
        boolean torchvision = "torchvision".equals(model.metadata().get(ModelReader.LAYOUT));
        boolean imagenet = known.map(KnownModel::imagenetColours).orElseGet(() -> torchvision
                || !(config instanceof VitConfig vit) || vit.prefix().distillationToken() || nameHasDeit(file));
        facts.put(MEAN, (imagenet ? ImageTransform.IMAGENET_MEAN : ImageTransform.HALF).toString());
        facts.put(STD, (imagenet ? ImageTransform.IMAGENET_STD : ImageTransform.HALF).toString());
        double crop = config.imageSize() == LARGE ? 1 : torchvision && config instanceof VitConfig ? 0.875 : 0.9;
        facts.put(CROP, String.valueOf(known.map(KnownModel::cropShare).orElse(crop)));
        facts.put(FILTER, torchvision && config instanceof VitConfig ? "bilinear" : "bicubic");
        return facts;
    }

    /** A configuration of transformers' ViTImageProcessor or DeiTImageProcessor. */
    private static ImageTransform processor(JsonNode root) {
        JsonNode size = root.path("size");
        Fit fit = size.has("shortest_edge") ? Fit.SHORTER : Fit.STRETCH;
        int side = side(size, "size");
        boolean cropped = root.path("do_center_crop").asBoolean(root.has("crop_size"));
        int crop = cropped ? side(root.path("crop_size"), "crop_size") : side;
        ResizeFilter filter = switch (root.path("resample").asInt(2)) {
            case 2 -> ResizeFilter.BILINEAR;
            case 3 -> ResizeFilter.BICUBIC;
            default -> throw new IllegalArgumentException("resample is " + root.path("resample") + ", possible are 2 and 3");
        };
        double factor = root.path("rescale_factor").asDouble(1 / WHITE);
        if (!root.path("do_rescale").asBoolean(true) || Math.abs(factor * WHITE - 1) > 1e-6) {
            throw new IllegalArgumentException("pixels must be divided by 255");
        }
        boolean normalised = root.path("do_normalize").asBoolean(true);
        return new ImageTransform(root.path("do_resize").asBoolean(true) ? side : 0, fit, filter, crop,
                normalised ? channels(root, "image_mean") : new Channels(0, 0, 0),
                normalised ? channels(root, "image_std") : new Channels(1, 1, 1));
    }

    private static int side(JsonNode size, String name) {
        JsonNode side = size.isNumber() ? size : size.has("shortest_edge") ? size.get("shortest_edge") : size.path("height");
        if (!side.isIntegralNumber() || size.has("width") && !size.get("width").equals(side)) {
            throw new IllegalArgumentException(name + " is " + (size.isMissingNode() ? "missing" : size)
                    + ", expected is one number or a square");
        }
        return side.intValue();
    }

    private static Channels channels(JsonNode root, String name) {
        return channels(Map.of(name, root.path(name).toString()), name);
    }

    private static Channels channels(Map<String, String> facts, String name) {
        String[] numbers = facts.get(name).replaceAll("[\\[\\]()]", "").strip().split("[,:\\s]+");
        if (numbers.length != 3) {
            throw new IllegalArgumentException(name + " is \"" + facts.get(name) + "\", expected are three numbers");
        }
        return new Channels(Float.parseFloat(numbers[0]), Float.parseFloat(numbers[1]), Float.parseFloat(numbers[2]));
    }

    private static Map<String, String> beside(Path file) {
        Path config = file.resolveSibling("config.json");
        Map<String, String> facts = new HashMap<>();
        if (!Files.isRegularFile(config)) {
            return facts;
        }
        JsonNode root = json(config);
        for (JsonNode node : new JsonNode[] {root, root.path("pretrained_cfg")}) {
            for (String name : new String[] {MEAN, STD, CROP, FILTER}) {
                if (node.has(name)) {
                    facts.put(name, node.get(name).isValueNode() ? node.get(name).asText() : node.get(name).toString());
                }
            }
        }
        return facts;
    }

    private static JsonNode json(Path file) {
        try {
            return Console.reader().readTree(Files.readAllBytes(file));
        } catch (JsonProcessingException e) {
            throw new ModelException(file + ": is not JSON; repair or remove it", e);
        } catch (IOException e) {
            throw new ModelException(file + ": cannot be read (" + e.getMessage() + ")", e);
        }
    }

    private static boolean nameHasDeit(Path file) {
        return ModelSource.name(file).toLowerCase(Locale.ROOT).contains("deit")
                || file.getFileName().toString().toLowerCase(Locale.ROOT).contains("deit");
    }
}
