package io.github.ptq4vit.image;

import java.awt.image.Raster;
import java.io.IOException;

/**
 * In place, where the decoder's array has three bytes a pixel: the components of a decoded JPEG file to RGB, with the integer arithmetic of libjpeg (jdcolor.c) and, from CMYK,
 * that of Pillow (Convert.c): no colour profile takes part.
 */
final class JpegColors {
    private static final int SCALE_BITS = 16;
    private static final int HALF = 1 << SCALE_BITS - 1;
    // the coefficients of JFIF times 2^16, rounded
    private static final int CR_TO_RED = 91881;
    private static final int CB_TO_BLUE = 116130;
    private static final int CR_TO_GREEN = -46802;
    private static final int CB_TO_GREEN = -22554;

    private JpegColors() {
    }

    /** @throws IOException if the decoder gave other components than the file announced */
    static RgbImage toRgb(Raster raster, JpegStructure.Colors colors) throws IOException {
        int width = raster.getWidth();
        int height = raster.getHeight();
        int bands = raster.getNumBands();
        int expected = colors.components();
        if (bands != expected || raster.getSampleModel().getSampleSize(0) != 8) {
            throw new IOException("expected " + expected + " components of 8 bits, found " + bands + " of "
                    + raster.getSampleModel().getSampleSize(0));
        }
        byte[] rgb = Interleaved.bytes(raster).orElseGet(() -> new byte[Math.multiplyExact(3, Math.multiplyExact(width, height))]);
        int[] row = new int[width * bands];
        for (int y = 0; y < height; y++) {
            raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
            int out = 3 * width * y;
            for (int in = 0; in < row.length; in += bands, out += 3) {
                if (colors == JpegStructure.Colors.GREY) {
                    set(rgb, out, row[in], row[in], row[in]);
                    continue;
                }
                int first = row[in];
                int second = row[in + 1];
                int third = row[in + 2];
                if (colors == JpegStructure.Colors.YCC || colors == JpegStructure.Colors.YCCK) {
                    int cb = second - 128;
                    int cr = third - 128;
                    second = clip(first + (CB_TO_GREEN * cb + CR_TO_GREEN * cr + HALF >> SCALE_BITS));
                    third = clip(first + (CB_TO_BLUE * cb + HALF >> SCALE_BITS));
                    first = clip(first + (CR_TO_RED * cr + HALF >> SCALE_BITS));
                }
                if (bands == 4) {
                    // YCC of YCCK is the complement of what a CMYK file stores, which in turn is 255 - ink
                    boolean complement = colors == JpegStructure.Colors.CMYK;
                    int light = row[in + 3];
                    first = underBlack(complement ? 255 - first : first, light);
                    second = underBlack(complement ? 255 - second : second, light);
                    third = underBlack(complement ? 255 - third : third, light);
                }
                set(rgb, out, first, second, third);
            }
        }
        return new RgbImage(width, height, rgb);
    }

    /** What an ink (0 none, 255 full) leaves of the light that black lets through: light * (1 - ink / 255). */
    private static int underBlack(int ink, int light) {
        int product = ink * light + 128;
        return clip(light - (product + (product >> 8) >> 8));
    }

    private static void set(byte[] rgb, int at, int red, int green, int blue) {
        rgb[at] = (byte) red;
        rgb[at + 1] = (byte) green;
        rgb[at + 2] = (byte) blue;
    }

    private static int clip(int value) {
        return value < 0 ? 0 : Math.min(value, 255);
    }
}
