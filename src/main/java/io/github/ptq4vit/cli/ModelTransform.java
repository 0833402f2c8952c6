package io.github.ptq4vit.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.image.ImageTransform.Fit;
import io.github.ptq4vit.image.ProcessorTransform;
import io.github.ptq4vit.image.ResizeFilter;
import io.github.ptq4vit.image.TimmTransform;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.KnownModel;
import io.github.ptq4vit.model.ModelException;
import io.github.ptq4vit.model.ModelReader;
import io.github.ptq4vit.model.SwinConfig;
import io.github.ptq4vit.model.VisionTransformer;
import io.github.ptq4vit.model.VitConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * The transform that a float32 model was trained with: what the metadata of its safetensors say (mean, std, crop_pct and so on,
 * or a {@code pretrained_cfg} with them), else a {@code preprocessor_config.json} beside it as transformers writes it, else a
 * {@code config.json} (in its {@code pretrained_cfg}, as timm writes it, or at its top), else what is usual for the model. Null
 * counts as absent everywhere.
 */
final class ModelTransform {
    private static final String TIMM = "pretrained_cfg";
    private static final int LARGE = 384;
    /** Metadata are texts; Python writes dictionaries with single quotes. */
    private static final JsonMapper LENIENT = JsonMapper.builder().enable(JsonReadFeature.ALLOW_SINGLE_QUOTES).build();

    private ModelTransform() {
    }

    static ImageTransform of(VisionTransformer model, Path file, Optional<KnownModel> known) {
        int side = model.config().imageSize();
        ImageTransform usual = usual(model, file, known);
        ObjectNode metadata = metadata(model.metadata());
        boolean stated = TimmTransform.isStated(metadata) || metadata.path(TIMM).isObject();
        Path processor = file.resolveSibling("preprocessor_config.json");
        if (!stated && Files.isRegularFile(processor)) {
            return read(processor, () -> ProcessorTransform.of(json(processor), side));
        }
        // of a processor that has others beside it
        Path several = file.resolveSibling("processor_config.json");
        if (!stated && Files.isRegularFile(several) && json(several).path("image_processor").isObject()) {
            return read(several, () -> ProcessorTransform.of(json(several).get("image_processor"), side));
        }
        Path config = file.resolveSibling("config.json");
        JsonNode root = Files.isRegularFile(config) ? json(config) : Console.object();
        ObjectNode settings = Console.object();
        boolean timm = root.path(TIMM).isObject() || metadata.path(TIMM).isObject();
        for (JsonNode node : new JsonNode[] {root, root.path(TIMM), metadata.path(TIMM), metadata}) {
            node.properties().stream().filter(entry -> !entry.getValue().isNull())
                    .forEach(entry -> settings.set(entry.getKey(), entry.getValue()));
        }
        return read(stated ? file : config, () -> TimmTransform.of(settings, timm ? TimmTransform.defaults() : usual, side));
    }

    /** What reads a transform. */
    @FunctionalInterface
    private interface Reading {
        ImageTransform read();
    }

    private static ImageTransform read(Path file, Reading reading) {
        try {
            return reading.read();
        } catch (IllegalArgumentException e) {
            throw new ModelException(file + ": describes no image transform that can be done: " + e.getMessage()
                    + "; --transform with resize, crop, mean and std replaces it", e);
        }
    }

    /** The metadata as an object; those that are objects themselves are parsed. */
    private static ObjectNode metadata(Map<String, String> facts) {
        ObjectNode object = Console.object();
        facts.forEach((name, text) -> {
            object.put(name, text);
            if (name.equals(TIMM)) {
                try {
                    object.set(name, LENIENT.readTree(text.replace('(', '[').replace(')', ']').replaceAll("\\bNone\\b", "null")
                            .replaceAll("\\bTrue\\b", "true").replaceAll("\\bFalse\\b", "false")));
                } catch (JsonProcessingException e) {
                    throw new ModelException("The metadata of the weights have a " + TIMM + " that is no JSON", e);
                }
            }
        });
        return object;
    }

    /** What a model of its kind is usually trained with. */
    private static ImageTransform usual(VisionTransformer model, Path file, Optional<KnownModel> known) {
        Architecture config = model.config();
        boolean torchvision = ModelReader.TORCHVISION.equals(model.metadata().get(ModelReader.LAYOUT));
        boolean imagenet = known.map(KnownModel::imagenetColours).orElseGet(() -> torchvision
                || !(config instanceof VitConfig vit) || vit.prefix().distillationToken() || nameHasDeit(file));
        Channels mean = imagenet ? ImageTransform.IMAGENET_MEAN : ImageTransform.HALF;
        Channels std = imagenet ? ImageTransform.IMAGENET_STD : ImageTransform.HALF;
        if (torchvision && known.isEmpty()) {
            return torchvision(config, mean, std);
        }
        double crop = config.imageSize() == LARGE ? 1 : 0.9;
        return ImageTransform.timm(config.imageSize(), known.map(KnownModel::cropShare).orElse(crop), mean, std);
    }

    /** The presets of torchvision's weights, models/vision_transformer.py and swin_transformer.py, in proportion at other sizes. */
    private static ImageTransform torchvision(Architecture config, Channels mean, Channels std) {
        int side = config.imageSize();
        if (config instanceof SwinConfig swin) {
            int resize = swin.dim() >= 128 ? 238 : swin.depths().stream().mapToInt(Integer::intValue).sum() > 12 ? 246 : 232;
            return new ImageTransform(resize, 224, mean, std).forInput(side);
        }
        // from 384 on: the weights of SWAG
        boolean swag = side >= LARGE;
        int resize = swag ? side : config.dim() == 1024 && config.patchSize() == 16 ? 242 : 256;
        return new ImageTransform(resize, Fit.SHORTER, swag ? ResizeFilter.BICUBIC : ResizeFilter.BILINEAR, swag ? side : 224, mean, std)
                .forInput(side);
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
