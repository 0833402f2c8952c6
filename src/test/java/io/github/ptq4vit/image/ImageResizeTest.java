package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImageResizeTest {

    @ParameterizedTest(name = "from {0} to {1} x {2}, {3}")
    @CsvSource({"97x61, 40, 25, BICUBIC", "97x61, 190, 120, BICUBIC", "97x61, 31, 90, BICUBIC", "97x61, 97, 30, BICUBIC",
        "97x61, 1, 1, BICUBIC", "64x256, 62, 248, BICUBIC", "5x3, 17, 40, BICUBIC", "97x61, 40, 25, BILINEAR",
        "97x61, 190, 120, BILINEAR", "97x61, 32, 32, BILINEAR", "5x3, 17, 40, BILINEAR", "97x61, 40, 25, NEAREST",
        "97x61, 190, 120, NEAREST", "97x61, 31, 90, NEAREST", "97x61, 40, 25, BOX", "97x61, 190, 120, BOX", "97x61, 31, 90, BOX",
        "97x61, 40, 25, HAMMING", "97x61, 190, 120, HAMMING", "97x61, 31, 90, HAMMING", "97x61, 40, 25, LANCZOS",
        "97x61, 190, 120, LANCZOS", "97x61, 31, 90, LANCZOS"})
    void resizingEqualsPillowToTheLastBit(String source, int width, int height, ResizeFilter filter) {
        RgbImage expected = Golden.image("resize/" + source + "-to-" + width + "x" + height
                + (filter == ResizeFilter.BICUBIC ? "" : "-" + filter.word()) + ".png");
        RgbImage found = ImageResize.resize(Golden.image("resize/source-" + source + ".png"), filter, width, height);
        assertEquals(width, found.width());
        assertEquals(height, found.height());
        assertArrayEquals(expected.rgb(), found.rgb());
    }

    @Test
    void aPartOfTheResizedImageEqualsTheSamePartCutOut() {
        RgbImage source = Golden.image("resize/source-97x61.png");
        RgbImage whole = ImageResize.resize(source, ResizeFilter.BICUBIC, 50, 32);
        RgbImage part = ImageResize.resize(source, ResizeFilter.BICUBIC, 50, 32, 9, 5, 20, 27);
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
        RgbImage copy = ImageResize.resize(source, ResizeFilter.BICUBIC, 97, 61);
        assertArrayEquals(source.rgb(), copy.rgb());
    }

    @Test
    void anImageOfOneColourKeepsIt() {
        byte[] rgb = new byte[13 * 7 * 3];
        Arrays.fill(rgb, (byte) 201);
        RgbImage resized = ImageResize.resize(new RgbImage(13, 7, rgb), ResizeFilter.BICUBIC, 31, 4);
        for (byte value : resized.rgb()) {
            assertEquals(201, value & 0xff);
        }
    }

    @Test
    void aPartOutsideTheResizedImageIsRefused() {
        RgbImage source = new RgbImage(2, 2, new byte[12]);
        assertThrows(IllegalArgumentException.class, () -> ImageResize.resize(source, ResizeFilter.BICUBIC, 4, 4, 2, 0, 3, 4));
        assertThrows(IllegalArgumentException.class, () -> ImageResize.resize(source, ResizeFilter.BICUBIC, 0, 4));
    }
}
