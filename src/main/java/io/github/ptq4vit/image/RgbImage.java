package io.github.ptq4vit.image;

/**
 * An image of 8 bits per channel. Two images are equal only if they share the same array.
 *
 * @param width in pixels, at least 1
 * @param height in pixels, at least 1
 * @param rgb {@code [height, width, 3]}, row-major, unsigned bytes red, green, blue; not copied, not to be changed
 */
public record RgbImage(int width, int height, byte[] rgb) {

    public RgbImage {
        if (width < 1 || height < 1) {
            throw new IllegalArgumentException("An image of " + width + " x " + height + " pixels has no pixels");
        }
        if (rgb.length != 3L * width * height) {
            throw new IllegalArgumentException("An image of " + width + " x " + height + " pixels needs "
                    + 3L * width * height + " bytes, the array has " + rgb.length);
        }
    }

    /** The value 0 to 255 of channel 0 (red), 1 (green) or 2 (blue) in column {@code x} and row {@code y}. */
    public int sample(int x, int y, int channel) {
        return rgb[(y * width + x) * 3 + channel] & 0xff;
    }
}
