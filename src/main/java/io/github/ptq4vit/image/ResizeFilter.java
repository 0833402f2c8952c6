package io.github.ptq4vit.image;

import java.util.Locale;

/** How pixels are weighted when an image gets another size; stretched by the scale where it shrinks. */
public enum ResizeFilter {
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

    private final double radius;

    ResizeFilter(double radius) {
        this.radius = radius;
    }

    /** Beyond this distance weights are zero. */
    double radius() {
        return radius;
    }

    /** Weight of a pixel at this distance, in pixels of the smaller of both images. */
    abstract double weight(double distance);

    /** The word for it in settings: {@code bicubic}. */
    public String word() {
        return name().toLowerCase(Locale.ROOT);
    }
}
