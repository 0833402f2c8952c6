package io.github.ptq4vit.image;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.IOException;
import java.util.Optional;

/**
 * A decoded PNG file to RGB. Takes the stored samples themselves: {@code BufferedImage.getRGB} would convert grey from
 * a linear colour space, which makes it brighter than it is.
 */
final class PngColors {
    private PngColors() {
    }

    /** @throws IOException if the samples are neither of 8 nor of 16 bits */
    static RgbImage toRgb(BufferedImage image) throws IOException {
        int width = image.getWidth();
        int height = image.getHeight();
        Raster raster = image.getRaster();
        int bands = raster.getNumBands();
        Optional<byte[]> same = Interleaved.bytes(raster);
        if (same.isPresent() && !(image.getColorModel() instanceof IndexColorModel)) {
            return new RgbImage(width, height, same.get());
        }
        byte[] rgb = new byte[Math.multiplyExact(3, Math.multiplyExact(width, height))];
        int[] row = new int[width * bands];
        if (image.getColorModel() instanceof IndexColorModel palette) {
            byte[][] channels = new byte[3][1 << 16];
            palette.getReds(channels[0]);
            palette.getGreens(channels[1]);
            palette.getBlues(channels[2]);
            for (int y = 0; y < height; y++) {
                raster.getPixels(0, y, width, 1, row);
                for (int x = 0; x < width; x++) {
                    for (int c = 0; c < 3; c++) {
                        rgb[(y * width + x) * 3 + c] = channels[c][row[x]];
                    }
                }
            }
            return new RgbImage(width, height, rgb);
        }
        int bits = raster.getSampleModel().getSampleSize(0);
        if (bits != 8 && bits != 16) {
            throw new IOException("samples of " + bits + " bits are not supported");
        }
        // grey and grey with alpha have their only colour in band 0; alpha is always the last band
        int step = bands >= 3 ? 1 : 0;
        for (int y = 0; y < height; y++) {
            raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < width; x++) {
                for (int c = 0; c < 3; c++) {
                    rgb[(y * width + x) * 3 + c] = (byte) (row[x * bands + c * step] >> bits - 8);
                }
            }
        }
        return new RgbImage(width, height, rgb);
    }
}
