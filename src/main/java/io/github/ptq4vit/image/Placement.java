package io.github.ptq4vit.image;

import io.github.ptq4vit.image.ImageTransform.Centre;
import io.github.ptq4vit.image.ImageTransform.Fit;

/**
 * Where the crop of a transform lies in an image of one size.
 *
 * @param width of the resized image
 * @param height of the resized image
 * @param left first column of the crop in the resized image; negative where a border is added
 * @param top first row of the crop
 */
record Placement(int width, int height, int left, int top) {

    /** @throws ImageException if a side would become longer than 2^31 pixels, or nothing */
    static Placement of(ImageTransform transform, int width, int height) {
        int resize = transform.resize();
        int newWidth = width;
        int newHeight = height;
        if (resize != 0 && transform.fit() == Fit.STRETCH) {
            newWidth = resize;
            newHeight = resize;
        } else if (resize != 0 && transform.fit() == Fit.SHORTER) {
            int shorter = Math.min(width, height);
            int longer = (int) ((double) ((long) resize * Math.max(width, height)) / shorter);
            newWidth = width == shorter ? resize : longer;
            newHeight = height == shorter ? resize : longer;
        } else if (resize != 0) {
            // in this order and with these roundings: ResizeKeepRatio of timm
            double ratio = Math.max((double) height / resize, (double) width / resize);
            newWidth = (int) Math.rint(width / ratio);
            newHeight = (int) Math.rint(height / ratio);
        }
        if (Math.max(newWidth, newHeight) == Integer.MAX_VALUE || Math.min(newWidth, newHeight) < 1) {
            throw new ImageException("An image of " + width + " x " + height + " pixels is too long and narrow to resize a side to "
                    + resize);
        }
        return new Placement(newWidth, newHeight, first(transform, newWidth), first(transform, newHeight));
    }

    /** First pixel of the crop along an axis. */
    private static int first(ImageTransform transform, int size) {
        int crop = transform.crop();
        if (transform.centre() == Centre.FLOOR) {
            return Math.floorDiv(size - crop, 2);
        }
        // Python rounds .5 to even; the border has its smaller half on the left
        return size >= crop ? (int) Math.rint((size - crop) / 2.0) : -((crop - size) / 2);
    }
}
