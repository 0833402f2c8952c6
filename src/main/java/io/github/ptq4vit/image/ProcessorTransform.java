package io.github.ptq4vit.image;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.ptq4vit.image.ImageTransform.Border;
import io.github.ptq4vit.image.ImageTransform.Centre;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.image.ImageTransform.Fit;
import io.github.ptq4vit.tensor.Printable;
import java.util.List;
import java.util.Set;

/**
 * The image transform of a {@code preprocessor_config.json} as transformers writes it, from the feature extractors of version 4
 * to the fast processors of version 5. Fast processors resize tensors instead of images, which differs by at most a level of
 * 255 from Pillow, as which it is done here. Source: transformers, models/NAME/image_processing_NAME.py.
 */
public final class ProcessorTransform {
    private static final double WHITE = 255;
    private static final int SIDE = 224;
    private static final Channels CLIP_MEAN = new Channels(0.48145466f, 0.4578275f, 0.40821073f);
    private static final Channels CLIP_STD = new Channels(0.26862954f, 0.26130258f, 0.27577711f);
    private static final int NEVER_STRETCHED_FROM = 384;
    /** Steps that are done here, or change nothing about the pixels. */
    private static final Set<String> KNOWN_STEPS = Set.of("do_resize", "do_center_crop", "do_rescale", "do_normalize",
            "do_convert_rgb", "do_reduce_labels");

    /** What a side means, and which are cut out. */
    private enum Style {
        /** Both sides become {@code size}. */
        SQUARE,
        /** The shorter side becomes {@code size}. */
        SHORTEST,
        /** The shorter side becomes {@code size / crop_pct}, and {@code size} is cut out; from 384 on both become {@code size}. */
        CONVNEXT,
        /** The shorter side becomes {@code size / crop_pct}, and {@code crop_size} is cut out. */
        POOLFORMER,
        /** The shorter side becomes {@code size * 256 / 224}. */
        LEVIT
    }

    /**
     * What a class of processors does where a file says nothing.
     *
     * @param size its default, for a model of 224 pixels
     */
    private record Kind(List<String> names, Style style, int size, boolean crops, ResizeFilter filter, Channels mean, Channels std) {
    }

    private static final List<Kind> KINDS = List.of(
            new Kind(List.of("ViT", "Siglip", "Siglip2", "Pvt", "Base"), Style.SQUARE, SIDE, false, ResizeFilter.BILINEAR,
                    ImageTransform.HALF, ImageTransform.HALF),
            new Kind(List.of("DeiT", "Beit"), Style.SQUARE, 256, true, ResizeFilter.BICUBIC, ImageTransform.HALF, ImageTransform.HALF),
            new Kind(List.of("Bit", "CLIP", "ViTHybrid", "ChineseCLIP"), Style.SHORTEST, SIDE, true, ResizeFilter.BICUBIC, CLIP_MEAN,
                    CLIP_STD),
            new Kind(List.of("MobileNetV1", "MobileNetV2"), Style.SHORTEST, 256, true, ResizeFilter.BILINEAR, ImageTransform.HALF,
                    ImageTransform.HALF),
            new Kind(List.of("ConvNext"), Style.CONVNEXT, SIDE, false, ResizeFilter.BILINEAR, ImageTransform.HALF, ImageTransform.HALF),
            new Kind(List.of("PoolFormer"), Style.POOLFORMER, SIDE, true, ResizeFilter.BICUBIC, ImageTransform.IMAGENET_MEAN,
                    ImageTransform.IMAGENET_STD),
            new Kind(List.of("Levit"), Style.LEVIT, SIDE, true, ResizeFilter.BICUBIC, ImageTransform.IMAGENET_MEAN,
                    ImageTransform.IMAGENET_STD));

    private final TransformValues values;
    private final int side;
    private final Kind kind;

    private ProcessorTransform(TransformValues values, int side) {
        this.values = values;
        this.side = side;
        this.kind = kind(values);
    }

    /**
     * Reads a transform.
     *
     * @param root the file's content; null counts as absent
     * @param side of the model's input in pixels
     * @throws IllegalArgumentException if it cannot be done exactly; names the setting
     */
    public static ImageTransform of(JsonNode root, int side) {
        if (root.path("pretrained_cfg").isObject()) {
            return TimmTransform.of(root.get("pretrained_cfg"), TimmTransform.defaults(), side);
        }
        return new ProcessorTransform(new TransformValues(root), side).read();
    }

    private static Kind kind(TransformValues values) {
        String type = values.text("image_processor_type", values.text("feature_extractor_type", ""));
        String name = type.replaceFirst("(?:Fast|Pil)$", "").replaceFirst("(?:ImageProcessor|FeatureExtractor)$", "");
        if (type.isEmpty()) {
            boolean shortest = values.get("size").has("shortest_edge");
            Style style = values.has("crop_pct") ? values.flag("do_center_crop", values.has("crop_size")) ? Style.POOLFORMER
                    : Style.CONVNEXT : shortest ? Style.SHORTEST : Style.SQUARE;
            boolean crops = style == Style.SHORTEST || style == Style.POOLFORMER || values.has("crop_size");
            return new Kind(List.of(), style, 0, crops, ResizeFilter.BILINEAR, null, null);
        }
        return KINDS.stream().filter(one -> one.names.contains(name.isEmpty() ? type : name)).findFirst().orElseThrow(() ->
                new IllegalArgumentException("image_processor_type is " + Printable.of(type) + ", which is not known"));
    }

    private ImageTransform read() {
        refuseOtherSteps();
        boolean resized = values.flag("do_resize", true);
        boolean cropped = values.flag("do_center_crop", kind.crops);
        boolean convNext = kind.style == Style.CONVNEXT;
        if (values.has("crop_pct") && !convNext && kind.style != Style.POOLFORMER) {
            throw new IllegalArgumentException("crop_pct is " + values.text("crop_pct", "") + ", which this processor does not use");
        }
        boolean square = isSquare();
        int size = resized || values.has("size") ? size() : side;
        Fit fit = square ? Fit.STRETCH : Fit.SHORTER;
        int resize = size;
        if (convNext) {
            fit = size < NEVER_STRETCHED_FROM ? Fit.SHORTER : Fit.STRETCH;
            resize = fit == Fit.STRETCH ? size : (int) (size / values.share("crop_pct", 224.0 / 256));
        } else if (kind.style == Style.POOLFORMER) {
            resize = (int) (size / values.share("crop_pct", 0.9));
            fit = Fit.SHORTER;
        } else if (kind.style == Style.LEVIT && !square) {
            resize = (int) (256.0 / 224 * size);
        }
        if (resized && !cropped && !convNext && fit == Fit.SHORTER) {
            throw new IllegalArgumentException("size is " + Printable.of(values.get("size").toString()) + " and nothing is cut out, which"
                    + " leaves images that are not square");
        }
        int crop = convNext ? size : cropped ? crop() : resized ? size : side;
        boolean sameCentre = fit == Fit.STRETCH && resized && resize >= crop && (resize - crop) % 2 == 0;
        return new ImageTransform(resized ? resize : 0, fit, filter(), crop, mean(), std(),
                sameCentre ? Centre.EVEN : Centre.FLOOR, Border.BLACK).forInput(side);
    }

    private void refuseOtherSteps() {
        double factor = values.number("rescale_factor", 1 / WHITE);
        if (!values.flag("do_rescale", true) || Math.abs(factor * WHITE - 1) > 1e-6) {
            throw new IllegalArgumentException("do_rescale or rescale_factor asks for something else, but pixels must be divided by 255");
        }
        for (String name : values.names()) {
            boolean step = name.startsWith("do_") && !KNOWN_STEPS.contains(name);
            if ((step || name.equals("rescale_offset") || name.equals("include_top")) && values.flag(name, false)) {
                throw new IllegalArgumentException(Printable.of(name) + " is true, which cannot be done");
            }
        }
        for (String name : List.of("pad_size", "size_divisor")) {
            if (values.has(name)) {
                throw new IllegalArgumentException(name + " is " + Printable.of(values.get(name).toString()) + ", which cannot be done");
            }
        }
    }

    /** Whether {@code size} is that of both sides. */
    private boolean isSquare() {
        JsonNode size = values.get("size");
        if (size.isObject()) {
            return !isThere(size, "shortest_edge");
        }
        boolean usual = kind.style == Style.SQUARE;
        return size.isArray() || values.flag("default_to_square", usual);
    }

    private int size() {
        if (!values.has("size")) {
            if (kind.size == 0) {
                throw values.wrong("size", "one number or a square");
            }
            return (int) Math.round((double) kind.size * side / SIDE);
        }
        return side("size");
    }

    private int crop() {
        return values.has("crop_size") ? side("crop_size") : side;
    }

    /** One number, two equal ones, {@code height} and {@code width}, or {@code shortest_edge}. */
    private int side(String name) {
        JsonNode node = values.get(name);
        if (!node.isObject()) {
            return values.square(name, 0);
        }
        TransformValues sides = new TransformValues(node);
        boolean shortest = sides.has("shortest_edge");
        boolean square = sides.has("height") && sides.has("width");
        for (String other : sides.names()) {
            if (sides.has(other) && !(shortest ? other.equals("shortest_edge") : other.equals("height") || other.equals("width"))) {
                throw values.wrong(name, "one number, a square or a shortest edge");
            }
        }
        if (!shortest && (!square || sides.square("height", 0) != sides.square("width", 0))) {
            throw values.wrong(name, "one number, a square or a shortest edge");
        }
        return sides.square(shortest ? "shortest_edge" : "height", 0);
    }

    private static boolean isThere(JsonNode object, String name) {
        return new TransformValues(object).has(name);
    }

    private ResizeFilter filter() {
        if (!values.has("resample")) {
            return kind.filter;
        }
        JsonNode resample = values.get("resample");
        return resample.isIntegralNumber() && resample.canConvertToInt() ? ResizeFilter.number(resample.intValue())
                : ResizeFilter.named(resample.asText());
    }

    private Channels mean() {
        return colours("image_mean", new Channels(0, 0, 0), kind.mean);
    }

    private Channels std() {
        return colours("image_std", new Channels(1, 1, 1), kind.std);
    }

    private Channels colours(String name, Channels unchanged, Channels usual) {
        if (!values.flag("do_normalize", true)) {
            return unchanged;
        }
        Channels found = values.channels(name, usual);
        if (found == null) {
            throw values.wrong(name, "three numbers");
        }
        return found;
    }
}
