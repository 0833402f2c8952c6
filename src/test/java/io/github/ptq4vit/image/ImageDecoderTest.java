package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImageDecoderTest {

    @ParameterizedTest
    @ValueSource(strings = {"rgb", "grey", "grey-alpha", "rgba", "palette", "palette-alpha", "bilevel", "grey-gamma",
        "grey-2bit", "grey-transparent", "grey16", "grey16-alpha", "rgb16", "rgba16"})
    void everyKindOfPngDecodesAsWithPillow(String kind) {
        RgbImage image = Golden.image("kinds/" + kind + ".png");
        assertEquals(7, image.width());
        assertEquals(5, image.height());
        assertArrayEquals(Golden.bytes("kinds/" + kind + ".png.rgb"), image.rgb());
    }

    /** Two decoders may round the inverse cosine transform differently: one level in each of three components. */
    @ParameterizedTest
    @ValueSource(strings = {"ycc444", "ycc420", "progressive", "grey", "rotated", "unmarked", "adobe-rgb", "cmyk",
        "ycck"})
    void everyKindOfJpegDecodesAsWithPillow(String kind) {
        RgbImage image = Golden.image("kinds/" + kind + ".jpg");
        assertEquals(37, image.width());
        assertEquals(27, image.height());
        int difference = Golden.largestDifference(Golden.bytes("kinds/" + kind + ".jpg.rgb"), image.rgb());
        assertTrue(difference <= 3, "differs by " + difference);
    }

    /** Which of Adobe's and JFIF's markers decides about the colours, as libjpeg has it; four components are inverted always. */
    @ParameterizedTest
    @CsvSource({"three, none", "three, jfif", "four, none", "four, jfif"})
    void everyMarkerOfColoursIsUnderstoodAsByPillow(String components, String before) {
        for (String transform : new String[] {"plain", "0", "1", "2", "255"}) {
            String name = "kinds/" + components + "-" + before + "-" + transform + ".jpg";
            int difference = Golden.largestDifference(Golden.bytes(name + ".rgb"), Golden.image(name).rgb());
            assertTrue(difference <= 3, name + " differs by " + difference);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"kinds/ycc420.jpg", "kinds/progressive.jpg", "kinds/rgb.png", "kinds/palette.png"})
    void aFileCutOffAnywhereIsRefusedInOneSentenceThatNamesIt(String name) {
        byte[] whole = Golden.bytes(name);
        for (int length = 0; length < whole.length; length++) {
            byte[] part = Arrays.copyOf(whole, length);
            ImageException error = assertThrows(ImageException.class, () -> ImageDecoder.decode(part, "cut.img"),
                    "decoded although cut at " + length);
            assertTrue(error.getMessage().startsWith("The image cut.img "), error.getMessage());
            assertEquals(1, error.getMessage().lines().count());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"kinds/ycc420.jpg", "kinds/cmyk.jpg", "kinds/rgba16.png"})
    void aFileWithAWrongByteIsDecodedOrRefusedButNeverFailsOtherwise(String name) {
        byte[] whole = Golden.bytes(name);
        for (int at = 0; at < whole.length; at += 5) {
            byte[] damaged = whole.clone();
            damaged[at] ^= (byte) 0x55;
            try {
                ImageDecoder.decode(damaged, "damaged.img");
            } catch (ImageException e) {
                assertTrue(e.getMessage().contains("damaged.img"), e.getMessage());
            }
        }
    }

    @Test
    void aPngWithAWrongChecksumIsRefused() {
        byte[] damaged = Golden.bytes("kinds/rgb.png");
        damaged[45] ^= 1;
        ImageException error = assertThrows(ImageException.class, () -> ImageDecoder.decode(damaged, "a.png"));
        assertEquals("The image a.png is damaged or of an unsupported kind: the checksum of a part of the file is "
                + "wrong", error.getMessage());
    }

    @Test
    void theContentAndNotTheNameTellsTheFormat(@TempDir Path folder) throws Exception {
        Path file = Files.write(folder.resolve("really-a-png.jpg"), Golden.bytes("kinds/rgb.png"));
        assertArrayEquals(Golden.bytes("kinds/rgb.png.rgb"), ImageDecoder.read(file).rgb());
    }

    @Test
    void otherFilesAreRefusedByName(@TempDir Path folder) throws Exception {
        Path text = Files.write(folder.resolve("text.jpg"), "no image".getBytes(StandardCharsets.UTF_8));
        assertEquals("The image " + text + " is neither a JPEG nor a PNG file",
                assertThrows(ImageException.class, () -> ImageDecoder.read(text)).getMessage());
        Path empty = Files.write(folder.resolve("empty.jpg"), new byte[0]);
        assertEquals("The image " + empty + " is an empty file",
                assertThrows(ImageException.class, () -> ImageDecoder.read(empty)).getMessage());
        Path missing = folder.resolve("missing.jpg");
        assertEquals("There is no image " + missing,
                assertThrows(ImageException.class, () -> ImageDecoder.read(missing)).getMessage());
    }
}
