package io.github.ptq4vit.image;

import java.awt.image.DataBufferByte;
import java.awt.image.PixelInterleavedSampleModel;
import java.awt.image.Raster;
import java.util.Arrays;
import java.util.Optional;

/** The arrays of decoded images. */
final class Interleaved {
    private static final int[] IN_ORDER = {0, 1, 2};

    private Interleaved() {
    }

    /** The array of a raster if it is {@code [height, width, 3]} bytes, the first component first. */
    static Optional<byte[]> bytes(Raster raster) {
        if (!(raster.getSampleModel() instanceof PixelInterleavedSampleModel model)
                || !(raster.getDataBuffer() instanceof DataBufferByte buffer)) {
            return Optional.empty();
        }
        boolean plain = model.getNumBands() == 3 && model.getPixelStride() == 3 && model.getScanlineStride() == 3 * raster.getWidth()
                && Arrays.equals(model.getBandOffsets(), IN_ORDER) && buffer.getNumBanks() == 1 && buffer.getOffset() == 0
                && raster.getMinX() == 0 && raster.getMinY() == 0 && raster.getSampleModelTranslateX() == 0
                && raster.getSampleModelTranslateY() == 0 && buffer.getData().length == 3L * raster.getWidth() * raster.getHeight();
        return plain ? Optional.of(buffer.getData()) : Optional.empty();
    }
}
