package io.github.ptq4vit.calibrate;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/**
 * The images to calibrate on, as the network takes them.
 *
 * @param ids a name for each, part of the result's provenance and of the seed of its Fisher draws
 * @param pixels {@code [images, channels, side, side]}, normalised
 */
public record CalibrationImages(List<String> ids, Tensor pixels) {

    public CalibrationImages {
        ids = List.copyOf(ids);
        if (pixels.shape().rank() != 4 || pixels.shape().size(0) != ids.size() || ids.isEmpty()) {
            throw new IllegalArgumentException(ids.size() + " image ids do not fit pixels " + pixels.shape()
                    + "; [images, channels, side, side] is expected");
        }
    }

    /** The first so many of them; all, if there are fewer. */
    CalibrationImages first(int count) {
        int some = Math.min(count, ids.size());
        return new CalibrationImages(ids.subList(0, some), pixels.slice(0, some));
    }

    /** All of them, then all of them mirrored from left to right. */
    CalibrationImages withMirrored() {
        float[] own = pixels.toArray();
        float[] all = Arrays.copyOf(own, 2 * own.length);
        int side = pixels.shape().size(3);
        for (int row = 0; row < own.length; row += side) {
            for (int x = 0; x < side; x++) {
                all[own.length + row + x] = own[row + side - 1 - x];
            }
        }
        List<String> names = Stream.concat(ids.stream(), ids.stream().map(id -> id + ", mirrored")).toList();
        return new CalibrationImages(names, Tensor.of(Shape.of(names.size(), pixels.shape().size(1), pixels.shape().size(2), side), all));
    }
}
