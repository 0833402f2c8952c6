package io.github.ptq4vit.image;

import io.github.ptq4vit.tensor.Printable;
import java.util.Locale;

/**
 * How pixels are weighted when an image gets another size; stretched by the scale where it shrinks. All of Pillow's, by its
 * names and with its numbers. Source: Pillow, src/libImaging/Resample.c.
 */
public enum ResizeFilter {
    /** The one pixel under the middle of the new one; never stretched. */
    NEAREST(0) {
        @Override
        double weight(double distance) {
            return 1;
        }
    },
    /** All alike. */
    BOX(0.5) {
        @Override
        double weight(double distance) {
            return distance > -0.5 && distance <= 0.5 ? 1 : 0;
        }
    },
    /** A sinc in Hamming's window. */
    HAMMING(1) {
        @Override
        double weight(double distance) {
            double x = Math.abs(distance);
            if (x == 0 || x >= 1) {
                return x == 0 ? 1 : 0;
            }
            return sinc(x) * (0.54f + 0.46f * Math.cos(x * Math.PI));
        }
    },
    /** A sinc in a wider sinc's window. */
    LANCZOS(3) {
        @Override
        double weight(double distance) {
            return distance >= -3 && distance < 3 ? sinc(distance) * sinc(distance / 3) : 0;
        }
    },
    /** Keys' cubic with a = -0.5. */
    BICUBIC(2) {
        @Override
        double weight(double distance) {
            double x = Math.abs(distance);
            if (x < 1) {
                return ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1;
            }
            return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
        }
    },
    /** A triangle. */
    BILINEAR(1) {
        @Override
        double weight(double distance) {
            return Math.max(0, 1 - Math.abs(distance));
        }
    };

    /** Pillow's numbers of the filters, which transformers' files have, in the order of the numbers. */
    private static final ResizeFilter[] BY_NUMBER = {NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING};

    private final double radius;

    ResizeFilter(double radius) {
        this.radius = radius;
    }

    /**
     * The filter of a number, as {@code PIL.Image.Resampling} has it.
     *
     * @throws IllegalArgumentException if there is none
     */
    static ResizeFilter number(int number) {
        if (number < 0 || number >= BY_NUMBER.length) {
            throw new IllegalArgumentException("resample is " + number + ", Pillow has the filters 0 to " + (BY_NUMBER.length - 1));
        }
        return BY_NUMBER[number];
    }

    /**
     * The filter of a name: {@code bicubic}, or {@code InterpolationMode.BICUBIC} as torchvision prints it.
     *
     * @throws IllegalArgumentException if there is none
     */
    static ResizeFilter named(String name) {
        String plain = name.strip().toLowerCase(Locale.ROOT).replaceFirst("^.*\\.", "");
        for (ResizeFilter filter : values()) {
            if (filter.word().equals(plain)) {
                return filter;
            }
        }
        throw new IllegalArgumentException("interpolation is \"" + Printable.of(name) + "\", possible are nearest, box, bilinear, "
                + "hamming, bicubic and lanczos");
    }

    private static double sinc(double x) {
        return x == 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
    }

    /** Beyond this distance weights are zero. */
    double radius() {
        return radius;
    }

    /** Weight of a pixel at this distance to the right or below, in pixels of the smaller of both images. */
    abstract double weight(double distance);

    /** The word for it in settings: {@code bicubic}. */
    public String word() {
        return name().toLowerCase(Locale.ROOT);
    }
}
