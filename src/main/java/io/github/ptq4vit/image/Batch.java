package io.github.ptq4vit.image;

import io.github.ptq4vit.tensor.Tensor;
import java.util.List;

/**
 * Some transformed images.
 *
 * @param ids of the images
 * @param positions of the images in the list that was to be loaded, from 0, ascending; gaps are unreadable images
 * @param pixels {@code [images, 3, height, width]}, float32, normalised
 */
public record Batch(List<String> ids, int[] positions, Tensor pixels) {

    public Batch {
        ids = List.copyOf(ids);
        if (ids.isEmpty() || positions.length != ids.size() || pixels.shape().size(0) != ids.size()) {
            throw new IllegalArgumentException(ids.size() + " ids, " + positions.length + " positions and pixels of "
                    + pixels.shape() + " do not make a batch");
        }
    }

    /** Number of images, at least 1. */
    public int size() {
        return ids.size();
    }
}
