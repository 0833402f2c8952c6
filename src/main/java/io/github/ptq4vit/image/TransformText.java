package io.github.ptq4vit.image;

import io.github.ptq4vit.image.ImageTransform.Border;
import io.github.ptq4vit.image.ImageTransform.Centre;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.image.ImageTransform.Fit;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;

/** Reads the text form of an {@link ImageTransform}. */
final class TransformText {
    private static final String EXAMPLE = "for example resize=248,crop=224,mean=0.5:0.5:0.5,std=0.5:0.5:0.5";

    private TransformText() {
    }

    static ImageTransform apply(String settings, ImageTransform base) {
        ImageTransform transform = base;
        Set<String> seen = new HashSet<>();
        for (String setting : settings.split(",", -1)) {
            int equals = setting.indexOf('=');
            if (equals < 0) {
                throw new IllegalArgumentException("The transform \"" + settings + "\" has \"" + setting.strip()
                        + "\" where a name=value is expected, " + EXAMPLE);
            }
            String name = setting.substring(0, equals).strip();
            String value = setting.substring(equals + 1).strip();
            if (!seen.add(name)) {
                throw new IllegalArgumentException("The transform \"" + settings + "\" has " + name + " twice");
            }
            transform = set(transform, name, value);
        }
        return transform;
    }

    private static ImageTransform set(ImageTransform base, String name, String value) {
        int resize = base.resize();
        Fit fit = base.fit();
        ResizeFilter filter = base.filter();
        int crop = base.crop();
        Channels mean = base.mean();
        Channels std = base.std();
        Centre centre = base.centre();
        Border border = base.border();
        switch (name) {
            case "resize" -> resize = value.equals("none") ? 0 : pixels(name, value);
            case "crop" -> crop = pixels(name, value);
            case "mean" -> mean = channels(name, value);
            case "std" -> std = channels(name, value);
            case "filter" -> filter = constant(ResizeFilter.values(), name, value);
            case "fit" -> fit = constant(Fit.values(), name, value);
            case "centre" -> centre = constant(Centre.values(), name, value);
            case "border" -> border = constant(Border.values(), name, value);
            default -> throw new IllegalArgumentException("The transform has no setting \"" + name
                    + "\", only resize, crop, mean, std, filter, fit, centre and border, " + EXAMPLE);
        }
        return new ImageTransform(resize, fit, filter, crop, mean, std, centre, border);
    }

    private static <E extends Enum<E>> E constant(E[] constants, String name, String value) {
        return Arrays.stream(constants).filter(constant -> constant.name().equalsIgnoreCase(value)).findFirst()
                .orElseThrow(() -> new IllegalArgumentException(name + " is \"" + value + "\", allowed are "
                        + Arrays.stream(constants).map(c -> c.name().toLowerCase(Locale.ROOT)).collect(Collectors.joining(", "))
                        + ", for example " + name + "=" + constants[0].name().toLowerCase(Locale.ROOT)));
    }

    private static int pixels(String name, String value) {
        try {
            int pixels = Integer.parseInt(value);
            if (pixels > 0) {
                return pixels;
            }
        } catch (NumberFormatException e) {
            // told below, together with the numbers that are not positive
        }
        throw new IllegalArgumentException(name + " is \"" + value + "\", expected is a positive whole number of pixels"
                + (name.equals("resize") ? " or none" : "") + ", " + EXAMPLE);
    }

    private static Channels channels(String name, String value) {
        String[] parts = value.split(":", -1);
        try {
            if (parts.length == 1) {
                float all = Float.parseFloat(parts[0]);
                return new Channels(all, all, all);
            }
            if (parts.length == 3) {
                return new Channels(Float.parseFloat(parts[0]), Float.parseFloat(parts[1]),
                        Float.parseFloat(parts[2]));
            }
        } catch (NumberFormatException e) {
            // told below, together with the wrong number of numbers
        }
        throw new IllegalArgumentException(name + " is \"" + value
                + "\", expected are three numbers with colons between them (or one for all), " + EXAMPLE);
    }
}
