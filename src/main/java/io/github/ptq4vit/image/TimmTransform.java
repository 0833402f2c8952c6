package io.github.ptq4vit.image;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.ptq4vit.image.ImageTransform.Border;
import io.github.ptq4vit.image.ImageTransform.Centre;
import io.github.ptq4vit.image.ImageTransform.Fit;

/**
 * The image transform that timm records ({@code pretrained_cfg}: mean, std, crop_pct, crop_mode, interpolation), or torchvision
 * (the preset of its weights: resize_size, crop_size, mean, std, interpolation). Source: timm data/config.py and
 * data/transforms_factory.py (transforms_imagenet_eval), torchvision transforms/_presets.py.
 */
public final class TimmTransform {
    private static final double CROP_SHARE = 0.875;
    /** Side to which timm's defaults belong. */
    private static final int SIDE = 224;

    private TimmTransform() {
    }

    /** Whether an object records a transform in this form, in whole or in part. */
    public static boolean isStated(JsonNode settings) {
        TransformValues values = new TransformValues(settings);
        for (String name : new String[] {"mean", "std", "crop_pct", "crop_mode", "interpolation", "resize_size"}) {
            if (values.has(name)) {
                return true;
            }
        }
        return false;
    }

    /** What timm takes where a {@code pretrained_cfg} says nothing. */
    public static ImageTransform defaults() {
        return ImageTransform.timm(SIDE, CROP_SHARE, ImageTransform.IMAGENET_MEAN, ImageTransform.IMAGENET_STD);
    }

    /**
     * Reads a transform.
     *
     * @param settings an object; null counts as absent
     * @param otherwise gives what is absent
     * @param side of the model's input in pixels
     * @throws IllegalArgumentException if it cannot be done exactly; names the setting
     */
    public static ImageTransform of(JsonNode settings, ImageTransform otherwise, int side) {
        TransformValues values = new TransformValues(settings);
        ImageTransform usual = otherwise.forInput(side);
        ResizeFilter filter = values.has("interpolation") ? ResizeFilter.named(values.text("interpolation", "")) : usual.filter();
        if (!values.flag("antialias", true)) {
            throw values.wrong("antialias", "true: images are always resized with antialiasing");
        }
        int resize = usual.resize();
        int crop = side;
        if (values.has("resize_size")) {
            resize = values.square("resize_size", 0);
            crop = values.square("crop_size", side);
        } else {
            boolean test = values.has("test_input_size") && values.square("test_input_size", 0) == side
                    && values.square("input_size", side) != side;
            String share = test && values.has("test_crop_pct") ? "test_crop_pct" : "crop_pct";
            if (values.has(share)) {
                resize = (int) Math.floor(side / values.share(share, 1));
            }
        }
        Fit fit = switch (values.text("crop_mode", usual.fit() == Fit.SHORTER ? "center" : "")) {
            case "center" -> Fit.SHORTER;
            case "squash" -> Fit.STRETCH;
            case "border" -> Fit.LONGER;
            case "" -> usual.fit();
            default -> throw values.wrong("crop_mode", "center, squash or border");
        };
        return new ImageTransform(resize, fit, filter, crop, values.channels("mean", usual.mean()), values.channels("std", usual.std()),
                Centre.EVEN, fit == Fit.LONGER ? Border.MEAN : Border.BLACK).forInput(side);
    }
}
