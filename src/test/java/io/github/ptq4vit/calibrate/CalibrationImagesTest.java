package io.github.ptq4vit.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

class CalibrationImagesTest {
    @Test
    void mirrorImagesFollowWithRowsReversed() {
        float[] pixels = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
        CalibrationImages images = new CalibrationImages(List.of("a", "b"), Tensor.of(Shape.of(2, 2, 2, 2), pixels));
        CalibrationImages both = images.withMirrored();
        assertEquals(List.of("a", "b", "a, mirrored", "b, mirrored"), both.ids());
        assertEquals(Shape.of(4, 2, 2, 2), both.pixels().shape());
        assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15},
                both.pixels().toArray());
        assertArrayEquals(pixels, both.first(2).pixels().toArray());
    }
}
