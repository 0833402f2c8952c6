package io.github.ptq4vit.model;

import io.github.ptq4vit.backend.View;
import io.github.ptq4vit.tensor.Shape;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * What stages of a unit read and write: an array, as it is or seen head by head. Values of one array share its memory.
 *
 * @param array name of the array
 * @param sizes of the array for one image: {@code [tokens, length]}, or {@code [windows, heads, n, m]}
 * @param heads of an array of tokens, how it is seen
 */
public record Value(String array, Shape sizes, Optional<Heads> heads) {

    /**
     * One of several equal parts of every token, window by window and head by head.
     *
     * @param part which
     * @param parts how many there are
     * @param windows of the tokens, one after the other
     * @param heads of the part
     */
    public record Heads(int part, int parts, int windows, int heads) {
    }

    /** An array as it is. */
    static Value of(String array, int... sizes) {
        return new Value(array, Shape.of(sizes), Optional.empty());
    }

    /** The same array seen head by head. */
    Value seen(Heads as) {
        return new Value(array, sizes, Optional.of(as));
    }

    /** Sizes of the array for so many images. */
    int[] arraySizes(int images) {
        return IntStream.concat(IntStream.of(images), IntStream.of(sizes.toArray())).toArray();
    }

    /**
     * This value in the memory of its array.
     *
     * @param all the array, {@code [images, sizes]}
     * @return {@code [images, tokens, length]}, or {@code [images * windows, heads, n, m]}; no copy
     */
    View of(View all) {
        int images = all.size(0);
        if (heads.isEmpty()) {
            return sizes.rank() == 2 ? all : all.reshape(images * sizes.size(0), sizes.size(1), sizes.size(2), sizes.size(3));
        }
        Heads h = heads.get();
        View windows = all.reshape(images * h.windows, all.size(1) / h.windows, all.size(2));
        return windows.split(2, h.parts).split(3, h.heads).permute(2, 0, 3, 1, 4).at(h.part);
    }
}
