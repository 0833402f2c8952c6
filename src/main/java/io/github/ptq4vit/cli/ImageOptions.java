package io.github.ptq4vit.cli;

import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.model.ModelException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Stream;
import picocli.CommandLine.Option;

/** Which images, and how they become the model's input. */
final class ImageOptions {
    private static final int COLORS = 3;

    @Option(names = "--images", paramLabel = "DIR", required = true,
            description = "Folder of JPEG and PNG images, flat or with one folder per class.")
    private Path folder;

    @Option(names = "--transform", paramLabel = "SETTINGS", description = {"Settings that replace the model's own, for example",
            "resize=248,crop=224,mean=0.5:0.5:0.5,std=0.5:0.5:0.5 (any of them);", "also filter, fit, centre and border."})
    private Optional<String> settings = Optional.empty();

    @Option(names = "--resize", paramLabel = "PIXELS", description = "Length of the shorter side after resizing; none only crops.")
    private Optional<String> resize = Optional.empty();

    Path folder() {
        return folder;
    }

    /**
     * The transform to use, told on standard error.
     *
     * @param own gives the model's; not asked for it where the options say all of it
     */
    ImageTransform transform(Supplier<ImageTransform> own, Architecture model, CommonOptions common) {
        ImageTransform base = settings.filter(ImageOptions::isWhole).isPresent()
                ? ImageTransform.timm(model.imageSize(), 1, ImageTransform.HALF, ImageTransform.HALF) : own.get();
        ImageTransform transform = changed(base, settings, resize, model, common);
        Console.note("transform: " + transform);
        return transform;
    }

    private static boolean isWhole(String settings) {
        return Stream.of("resize=", "crop=", "mean=", "std=").allMatch(settings::contains);
    }

    /** A transform with the settings of options, checked against the model. */
    static ImageTransform changed(ImageTransform base, Optional<String> settings, Optional<String> resize, Architecture model,
            CommonOptions common) {
        ImageTransform transform = base;
        try {
            if (settings.isPresent()) {
                transform = transform.with(settings.get());
            }
            if (resize.isPresent()) {
                transform = transform.with("resize=" + resize.get());
            }
        } catch (IllegalArgumentException e) {
            throw common.wrong(e.getMessage());
        }
        if (transform.crop() != model.imageSize()) {
            throw common.wrong("The model takes images of " + model.imageSize() + " pixels, the transform crops to "
                    + transform.crop() + "; say --transform crop=" + model.imageSize());
        }
        if (model.channels() != COLORS) {
            throw new ModelException("The model takes images of " + model.channels() + " channels; only 3 (red, green, blue) "
                    + "can be given from files");
        }
        return transform;
    }
}
