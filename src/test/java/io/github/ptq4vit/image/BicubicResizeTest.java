package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BicubicResizeTest {

    @ParameterizedTest(name = "from {0} to {1} x {2}")
    @CsvSource({"97x61, 40, 25", "97x61, 190, 120", "97x61, 31, 90", "97x61, 97, 30", "97x61, 1, 1",
        "64x256, 62, 248", "5x3, 17, 40"})
    void resizingEqualsPillowToTheLastBit(String source, int width, int height) {
        RgbImage expected = Golden.image("resize/" + source + "-to-" + width + "x" + height + ".png");
        RgbImage found = BicubicResize.resize(Golden.image("resize/source-" + source + ".png"), width, height);
        assertEquals(width, found.width());
        assertEquals(height, found.height());
        assertArrayEquals(expected.rgb(), found.rgb());
    }

    @Test
    void aPartOfTheResizedImageEqualsTheSamePartCutOut() {
        RgbImage source = Golden.image("resize/source-97x61.png");
        RgbImage whole = BicubicResize.resize(source, 50, 32);
        RgbImage part = BicubicResize.resize(source, 50, 32, 9, 5, 20, 27);
        for (int y = 0; y < 27; y++) {
            for (int x = 0; x < 20; x++) {
                for (int c = 0; c < 3; c++) {
                    assertEquals(whole.sample(9 + x, 5 + y, c), part.sample(x, y, c));
                }
            }
        }
    }

    @Test
    void anImageOfTheSameSizeIsCopiedUnchanged() {
        RgbImage source = Golden.image("resize/source-97x61.png");
        RgbImage copy = BicubicResize.resize(source, 97, 61);
        assertArrayEquals(source.rgb(), copy.rgb());
    }

    @Test
    void anImageOfOneColourKeepsIt() {
        byte[] rgb = new byte[13 * 7 * 3];
        Arrays.fill(rgb, (byte) 201);
        RgbImage resized = BicubicResize.resize(new RgbImage(13, 7, rgb), 31, 4);
        for (byte value : resized.rgb()) {
            assertEquals(201, value & 0xff);
        }
    }

    @Test
    void aPartOutsideTheResizedImageIsRefused() {
        RgbImage source = new RgbImage(2, 2, new byte[12]);
        assertThrows(IllegalArgumentException.class, () -> BicubicResize.resize(source, 4, 4, 2, 0, 3, 4));
        assertThrows(IllegalArgumentException.class, () -> BicubicResize.resize(source, 0, 4));
    }
}
