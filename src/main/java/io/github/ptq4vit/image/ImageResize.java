package io.github.ptq4vit.image;

import java.util.Arrays;

/**
 * Antialiased resampling of 8-bit images, equal to the last bit to Pillow's {@code Image.resize(size, filter)}. The filter
 * is stretched by the scale where the image shrinks; the rows are resampled first and rounded to 8 bits, then the columns,
 * both with weights in fixed point of 22 fractional bits. Source: Pillow, src/libImaging/Resample.c.
 */
public final class ImageResize {
    private static final int FRACTION_BITS = 32 - 8 - 2;
    private static final int ROUND = 1 << FRACTION_BITS - 1;

    private ImageResize() {
    }

    /** The image with another size in pixels. An axis that keeps its size is not resampled. */
    public static RgbImage resize(RgbImage image, ResizeFilter filter, int width, int height) {
        return resize(image, filter, width, height, 0, 0, width, height);
    }

    /**
     * The part of the resized image that starts at column {@code left} and row {@code top}; the same pixels as cutting
     * it out afterwards, without the work for the others.
     *
     * @param width columns of the whole resized image
     * @param height rows of the whole resized image
     * @param columns width of the part
     * @param rows height of the part
     * @throws IllegalArgumentException if the part is empty or not inside the resized image
     */
    public static RgbImage resize(RgbImage image, ResizeFilter filter, int width, int height, int left, int top, int columns,
            int rows) {
        if (left < 0 || top < 0 || columns < 1 || rows < 1 || left > width - columns || top > height - rows) {
            throw new IllegalArgumentException("The part of " + columns + " x " + rows + " pixels at (" + left + ", "
                    + top + ") is not inside the image of " + width + " x " + height);
        }
        Axis vertical = Axis.of(filter, image.height(), height, top, rows);
        // only the rows that the second pass will look at
        int firstRow = vertical.first[0];
        int lastRow = vertical.first[rows - 1] + vertical.count[rows - 1];
        byte[] narrow = alongRows(image, firstRow, lastRow - firstRow, Axis.of(filter, image.width(), width, left, columns));
        return new RgbImage(columns, rows, alongColumns(narrow, columns * 3, firstRow, vertical));
    }

    private static byte[] alongRows(RgbImage image, int firstRow, int rows, Axis axis) {
        byte[] in = image.rgb();
        int columns = axis.first.length;
        byte[] out = new byte[rows * columns * 3];
        int to = 0;
        for (int y = 0; y < rows; y++) {
            int rowStart = (firstRow + y) * image.width() * 3;
            if (axis.identity) {
                System.arraycopy(in, rowStart + axis.first[0] * 3, out, to, columns * 3);
                to += columns * 3;
                continue;
            }
            for (int x = 0; x < columns; x++) {
                int red = ROUND;
                int green = ROUND;
                int blue = ROUND;
                int from = rowStart + axis.first[x] * 3;
                int end = x * axis.stride + axis.count[x];
                for (int k = x * axis.stride; k < end; k++, from += 3) {
                    int weight = axis.weights[k];
                    red += (in[from] & 0xff) * weight;
                    green += (in[from + 1] & 0xff) * weight;
                    blue += (in[from + 2] & 0xff) * weight;
                }
                out[to++] = clip(red);
                out[to++] = clip(green);
                out[to++] = clip(blue);
            }
        }
        return out;
    }

    /** Row by row over whole lines of {@code length} samples, so that the inner loop is one the JIT vectorises. */
    private static byte[] alongColumns(byte[] in, int length, int firstRow, Axis axis) {
        int rows = axis.first.length;
        if (axis.identity) {
            return in;
        }
        byte[] out = new byte[rows * length];
        int[] sums = new int[length];
        for (int y = 0; y < rows; y++) {
            Arrays.fill(sums, ROUND);
            for (int k = 0; k < axis.count[y]; k++) {
                addScaled(in, (axis.first[y] + k - firstRow) * length, axis.weights[y * axis.stride + k], sums);
            }
            for (int i = 0; i < length; i++) {
                out[y * length + i] = clip(sums[i]);
            }
        }
        return out;
    }

    private static void addScaled(byte[] in, int from, int weight, int[] sums) {
        for (int i = 0; i < sums.length; i++) {
            sums[i] += (in[from + i] & 0xff) * weight;
        }
    }

    private static byte clip(int sum) {
        int value = sum >> FRACTION_BITS;
        return (byte) (value < 0 ? 0 : Math.min(value, 255));
    }

    /**
     * The weights along one axis.
     *
     * @param identity whether the axis keeps its size
     * @param first first input sample of each output sample
     * @param count number of input samples of each output sample
     * @param weights {@code [output, stride]}, fixed point; the last {@code stride - count} of an output are unused
     */
    private record Axis(boolean identity, int[] first, int[] count, int stride, int[] weights) {

        static Axis of(ResizeFilter filter, int inSize, int outSize, int from, int length) {
            double scale = (double) inSize / outSize;
            double stretch = Math.max(scale, 1);
            double radius = filter.radius() * stretch;
            int stride = (int) Math.ceil(radius) * 2 + 1;
            boolean identity = inSize == outSize;
            if (filter == ResizeFilter.NEAREST && !identity) {
                return nearest(scale, inSize, from, length);
            }
            int[] first = new int[length];
            int[] count = new int[length];
            int[] weights = new int[identity ? 0 : Math.multiplyExact(length, stride)];
            double[] exact = new double[stride];
            for (int i = 0; i < length; i++) {
                if (identity) {
                    first[i] = from + i;
                    count[i] = 1;
                    continue;
                }
                double center = (from + i + 0.5) * scale;
                first[i] = Math.max(0, (int) (center - radius + 0.5));
                count[i] = Math.min(inSize, (int) (center + radius + 0.5)) - first[i];
                double sum = 0;
                double inverse = 1 / stretch;
                for (int k = 0; k < count[i]; k++) {
                    exact[k] = filter.weight((k + first[i] - center + 0.5) * inverse);
                    sum += exact[k];
                }
                for (int k = 0; k < count[i]; k++) {
                    double weight = (sum != 0 ? exact[k] / sum : exact[k]) * (1 << FRACTION_BITS);
                    weights[i * stride + k] = (int) (weight < 0 ? weight - 0.5 : weight + 0.5);
                }
            }
            return new Axis(identity, first, count, stride, weights);
        }

        /** Pillow adds up the places, with their roundings. Source: src/libImaging/Geometry.c, ImagingScaleAffine. */
        private static Axis nearest(double scale, int inSize, int from, int length) {
            int[] first = new int[length];
            int[] count = new int[length];
            int[] weights = new int[length];
            double place = scale * 0.5;
            for (int i = 0; i < from + length; i++, place += scale) {
                if (i >= from) {
                    first[i - from] = Math.min((int) place, inSize - 1);
                    count[i - from] = 1;
                    weights[i - from] = 1 << FRACTION_BITS;
                }
            }
            return new Axis(false, first, count, 1, weights);
        }
    }
}
