package io.github.ptq4vit.evaluate;

import io.github.ptq4vit.tensor.Tensor;
import java.nio.FloatBuffer;

/** Which classes a model takes to be the likeliest. */
public final class Ranks {
    private Ranks() {
    }

    /**
     * The likeliest class of an image; the first of equals.
     *
     * @param logits {@code [images, classes]}
     */
    public static int best(Tensor logits, int image) {
        FloatBuffer row = logits.slice(image, image + 1).data();
        int best = 0;
        for (int c = 1; c < row.limit(); c++) {
            if (row.get(c) > row.get(best)) {
                best = c;
            }
        }
        return best;
    }

    /**
     * How many classes come before a class, 0 if it is the likeliest; of equals the first comes first. NaN comes last.
     *
     * @param logits {@code [images, classes]}
     */
    public static int of(int label, Tensor logits, int image) {
        FloatBuffer row = logits.slice(image, image + 1).data();
        float mine = row.get(label);
        int before = 0;
        for (int c = 0; c < row.limit(); c++) {
            float other = row.get(c);
            if (c != label && (other > mine || other == mine && c < label || Float.isNaN(mine))) {
                before++;
            }
        }
        return before;
    }
}
