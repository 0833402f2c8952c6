package io.github.ptq4vit.image;

import java.util.Arrays;
import java.util.Locale;

/**
 * The evaluation transform of timm, torchvision and Hugging Face: resize (antialiased, on 8 bits, as Pillow), cut out the
 * centre, divide by 255, subtract the mean and divide by the standard deviation in float32.
 * Source: timm data/transforms_factory.py (transforms_imagenet_eval), torchvision transforms/functional.py, transformers
 * image_transforms.py.
 *
 * @param resize length of a side in pixels after resizing, 0 to keep the image's size and only crop
 * @param fit which side that is
 * @param filter how pixels are weighted in resizing
 * @param crop side in pixels of the square that is cut out; an image smaller than that gets a border
 * @param mean of each channel, in units where white is 1
 * @param std of each channel, in the same units, positive
 * @param centre where the middle is if a pixel more is left on one side than on the other
 * @param border what is beyond the image
 */
public record ImageTransform(int resize, Fit fit, ResizeFilter filter, int crop, Channels mean, Channels std, Centre centre,
        Border border) {
    /** Mean of ImageNet: DeiT, Swin and most others. */
    public static final Channels IMAGENET_MEAN = new Channels(0.485f, 0.456f, 0.406f);
    /** Standard deviation of ImageNet. */
    public static final Channels IMAGENET_STD = new Channels(0.229f, 0.224f, 0.225f);
    /** Mean and standard deviation of timm's ViTs from Google: pixels from -1 to 1. */
    public static final Channels HALF = new Channels(0.5f, 0.5f, 0.5f);
    private static final int MAX_SIDE = 1 << 14;
    private static final int MAX_PIXEL = 1_000_000;

    public ImageTransform {
        if (resize < 0 || resize > MAX_SIDE) {
            throw new IllegalArgumentException("resize is " + resize + ", allowed are 1 to " + MAX_SIDE
                    + " pixels or none, for example resize=248");
        }
        if (crop < 1 || crop > MAX_SIDE) {
            throw new IllegalArgumentException("crop is " + crop + ", allowed are 1 to " + MAX_SIDE
                    + " pixels, for example crop=224");
        }
        for (int c = 0; c < 3; c++) {
            if (!Float.isFinite(mean.get(c))) {
                throw new IllegalArgumentException("mean is " + mean + ", allowed are finite numbers, for example "
                        + "mean=" + IMAGENET_MEAN);
            }
            if (!(std.get(c) > 0) || !Float.isFinite(std.get(c))) {
                throw new IllegalArgumentException("std is " + std + ", allowed are positive numbers, for example "
                        + "std=" + IMAGENET_STD);
            }
            float largest = Math.max(Math.abs(mean.get(c)), Math.abs(1 - mean.get(c))) / std.get(c);
            if (largest > MAX_PIXEL) {
                throw new IllegalArgumentException("mean " + mean + " and std " + std + " make pixels of " + largest + ", allowed are"
                        + " at most " + MAX_PIXEL + ", for example mean=" + IMAGENET_MEAN + ",std=" + IMAGENET_STD);
            }
        }
    }

    /** Which side {@code resize} is the length of. */
    public enum Fit {
        /** The shorter; the image keeps its proportions. */
        SHORTER,
        /** Both; the image becomes square, as Hugging Face's processors of ViT and Swin and timm's crop mode "squash" do it. */
        STRETCH,
        /** The longer; the image keeps its proportions, as in timm's crop mode "border". */
        LONGER
    }

    /** Where the middle is. */
    public enum Centre {
        /** Half a pixel is rounded to the even one: torchvision and timm. */
        EVEN,
        /** Half a pixel is rounded up and left: transformers. */
        FLOOR
    }

    /** The colour of what is beyond the image. */
    public enum Border {
        /** Of all channels 0. */
        BLACK,
        /** The mean, rounded to 8 bits: timm's crop mode "border". */
        MEAN
    }

    /** As torchvision and timm cut out the centre. */
    public ImageTransform(int resize, Fit fit, ResizeFilter filter, int crop, Channels mean, Channels std) {
        this(resize, fit, filter, crop, mean, std, Centre.EVEN, Border.BLACK);
    }

    /** Bicubic, in proportion. */
    public ImageTransform(int resize, int crop, Channels mean, Channels std) {
        this(resize, Fit.SHORTER, ResizeFilter.BICUBIC, crop, mean, std);
    }

    /** One number for each of red, green and blue; as text separated by colons. */
    public record Channels(float red, float green, float blue) {
        /** Of channel 0 (red), 1 (green) or 2 (blue). */
        public float get(int channel) {
            return channel == 0 ? red : channel == 1 ? green : blue;
        }

        @Override
        public String toString() {
            return red + ":" + green + ":" + blue;
        }
    }

    /**
     * The transform of a timm model: the shorter side is resized to {@code floor(inputSize / cropPct)}.
     *
     * @param inputSize side of the model's input in pixels
     * @param cropPct share of the resized side that remains, above 0 and up to 1; 0.9 for most ViTs, 0.875 is usual
     */
    public static ImageTransform timm(int inputSize, double cropPct, Channels mean, Channels std) {
        if (!(cropPct > 0) || cropPct > 1) {
            throw new IllegalArgumentException(String.format(Locale.ROOT,
                    "cropPct is %s, allowed are numbers above 0 and up to 1, for example 0.9", cropPct));
        }
        return new ImageTransform((int) Math.floor(inputSize / cropPct), inputSize, mean, std);
    }

    /**
     * The same for another size of the model's input: the resized image grows in proportion.
     *
     * @param side of the input in pixels
     */
    public ImageTransform forInput(int side) {
        return new ImageTransform((int) Math.round((double) resize * side / crop), fit, filter, side, mean, std, centre, border);
    }

    /**
     * This transform with some settings replaced, as given on a command line: {@code resize=248,crop=224,
     * mean=0.5:0.5:0.5,std=0.5:0.5:0.5}, any of them, in any order. {@code resize=none} only crops; a single number
     * for mean or std counts for all three channels. Further {@code filter=bilinear} (nearest, box, hamming, bicubic, lanczos),
     * {@code fit=stretch} (or longer, shorter), {@code centre=floor} (or even) and {@code border=mean} (or black). Understands what {@link #toString} writes.
     *
     * @throws IllegalArgumentException with a sentence that says what is allowed
     */
    public ImageTransform with(String settings) {
        return TransformText.apply(settings, this);
    }

    /** Number of floats of one transformed image: {@code 3 * crop * crop}. */
    public int elements() {
        return 3 * crop * crop;
    }

    /**
     * The transformed image, {@code [3, crop, crop]}, row-major: all of red, then green, then blue.
     *
     * @throws ImageException if a side would become longer than 2^31 pixels, or nothing
     */
    public float[] apply(RgbImage image) {
        float[] pixels = new float[elements()];
        Placement place = Placement.of(this, image.width(), image.height());
        int fromX = Math.max(0, place.left());
        int fromY = Math.max(0, place.top());
        RgbImage visible = ImageResize.resize(image, filter, place.width(), place.height(), fromX, fromY,
                Math.min(place.width(), place.left() + crop) - fromX, Math.min(place.height(), place.top() + crop) - fromY);
        normalise(visible, fromX - place.left(), fromY - place.top(), pixels);
        return pixels;
    }

    private void normalise(RgbImage visible, int left, int top, float[] pixels) {
        byte[] rgb = visible.rgb();
        for (int c = 0; c < 3; c++) {
            float[] table = new float[256];
            for (int v = 0; v < 256; v++) {
                table[v] = (v / 255f - mean.get(c)) / std.get(c);
            }
            if (visible.width() != crop || visible.height() != crop) {
                int beyond = border == Border.BLACK ? 0 : (int) Math.rint(255.0 * mean.get(c));
                Arrays.fill(pixels, c * crop * crop, (c + 1) * crop * crop, table[Math.max(0, Math.min(255, beyond))]);
            }
            int from = c;
            for (int y = 0; y < visible.height(); y++) {
                int to = (c * crop + top + y) * crop + left;
                for (int x = 0; x < visible.width(); x++, from += 3) {
                    pixels[to + x] = table[rgb[from] & 0xff];
                }
            }
        }
    }

    /**
     * All settings in the form that {@link #with} reads, those after {@code std} only where they are not the usual; the same for equal transforms, good for provenance.
     */
    @Override
    public String toString() {
        return "resize=" + (resize == 0 ? "none" : resize) + ",crop=" + crop + ",mean=" + mean + ",std=" + std
                + (filter == ResizeFilter.BICUBIC ? "" : ",filter=" + filter.word())
                + unless(Fit.SHORTER, "fit", fit) + unless(Centre.EVEN, "centre", centre) + unless(Border.BLACK, "border", border);
    }

    private static String unless(Enum<?> usual, String name, Enum<?> value) {
        return value == usual ? "" : "," + name + "=" + value.name().toLowerCase(Locale.ROOT);
    }
}
