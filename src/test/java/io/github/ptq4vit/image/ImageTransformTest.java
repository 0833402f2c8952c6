package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.image.ImageTransform.Channels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImageTransformTest {
    private static final ImageTransform VIT = ImageTransform.timm(224, 0.9, ImageTransform.HALF, ImageTransform.HALF);

    @ParameterizedTest(name = "{0}, resize {1}, crop {2}")
    @CsvSource({"97x61, 40, 32", "97x61, 37, 32", "64x256, 33, 32", "97x61, 0, 32", "97x61, 0, 72", "5x3, 0, 8",
        "97x61, 61, 61"})
    void theTransformEqualsTorchvisionToTheLastBit(String source, int resize, int crop) {
        ImageTransform transform = new ImageTransform(resize, crop, ImageTransform.IMAGENET_MEAN,
                ImageTransform.IMAGENET_STD);
        float[] found = transform.apply(Golden.image("resize/source-" + source + ".png"));
        assertArrayEquals(Golden.floats("transform/" + source + "-" + resize + "-" + crop + ".f32"), found);
    }

    @ParameterizedTest
    @CsvSource({"32", "33", "72", "97"})
    void theCentreIsWhereTransformersHasIt(int crop) {
        ImageTransform transform = new ImageTransform(0, crop, ImageTransform.IMAGENET_MEAN, ImageTransform.IMAGENET_STD)
                .with("centre=floor");
        assertArrayEquals(Golden.floats("transform/97x61-transformers-" + crop + ".f32"),
                transform.apply(Golden.image("resize/source-97x61.png")));
    }

    @ParameterizedTest
    @CsvSource({"97x61, 40, 40", "97x61, 41, 32", "97x61, 60, 32", "64x256, 33, 32"})
    void theLongerSideFitsAndTheRestIsTheMeanAsInTimmsModeBorder(String source, int resize, int crop) {
        ImageTransform transform = new ImageTransform(resize, crop, ImageTransform.IMAGENET_MEAN, ImageTransform.IMAGENET_STD)
                .with("fit=longer,border=mean");
        assertArrayEquals(Golden.floats("transform/" + source + "-border-" + resize + "-" + crop + ".f32"),
                transform.apply(Golden.image("resize/source-" + source + ".png")));
        assertEquals(transform, VIT.with(transform.toString()));
    }

    @Test
    void theMiddleOfAnOddMarginIsRoundedToTheEvenPixel() {
        // margins of 1, 3, 5 and 7 pixels; round(0.5), round(1.5), round(2.5), round(3.5) in Python
        int[] expected = {0, 2, 2, 4};
        for (int i = 0; i < expected.length; i++) {
            int width = 4 + 2 * i + 1;
            byte[] rgb = new byte[width * 4 * 3];
            for (int p = 0; p < rgb.length; p++) {
                rgb[p] = (byte) (p / 3 % width);
            }
            ImageTransform transform = VIT.with("resize=none,crop=4,mean=0,std=1");
            float[] pixels = transform.apply(new RgbImage(width, 4, rgb));
            assertEquals(expected[i], Math.round(pixels[0] * 255));
        }
    }

    @Test
    void timmResizesToTheCropDividedByItsShareRoundedDown() {
        assertEquals(248, VIT.resize());
        assertEquals(256, ImageTransform.timm(224, 0.875, ImageTransform.HALF, ImageTransform.HALF).resize());
        assertEquals(384, ImageTransform.timm(384, 1.0, ImageTransform.HALF, ImageTransform.HALF).resize());
        assertThrows(IllegalArgumentException.class,
                () -> ImageTransform.timm(224, 90, ImageTransform.HALF, ImageTransform.HALF));
    }

    @Test
    void theTextFormIsReadBack() {
        ImageTransform transform = new ImageTransform(0, 96, ImageTransform.IMAGENET_MEAN, ImageTransform.IMAGENET_STD);
        assertEquals("resize=none,crop=96,mean=0.485:0.456:0.406,std=0.229:0.224:0.225", transform.toString());
        assertEquals(transform, VIT.with(transform.toString()));
        ImageTransform stretched = new ImageTransform(32, ImageTransform.Fit.STRETCH, ResizeFilter.BILINEAR, 32, ImageTransform.HALF,
                ImageTransform.HALF);
        assertEquals("resize=32,crop=32,mean=0.5:0.5:0.5,std=0.5:0.5:0.5,filter=bilinear,fit=stretch", stretched.toString());
        assertEquals(stretched, VIT.with(stretched.toString()));
        assertEquals(VIT, stretched.with(VIT + ",filter=bicubic,fit=shorter"));
    }

    @Test
    void aStretchedImageIsTheImageResizedToASquare() {
        RgbImage source = Golden.image("resize/source-97x61.png");
        RgbImage square = Golden.image("resize/97x61-to-32x32-bilinear.png");
        ImageTransform transform = VIT.with("resize=32,crop=32,mean=0,std=1,filter=bilinear,fit=stretch");
        assertArrayEquals(VIT.with("resize=none,crop=32,mean=0,std=1").apply(square), transform.apply(source));
    }

    @Test
    void anotherInputSizeKeepsTheProportionOfTheCrop() {
        assertEquals("resize=425,crop=384", VIT.forInput(384).toString().split(",mean")[0]);
        assertEquals(VIT, VIT.forInput(224));
        assertEquals(0, VIT.with("resize=none").forInput(384).resize());
    }

    @Test
    void settingsReplaceOnlyWhatTheyName() {
        ImageTransform changed = VIT.with("resize=256, mean=0.1:0.2:0.3");
        assertEquals(new ImageTransform(256, 224, new Channels(0.1f, 0.2f, 0.3f), ImageTransform.HALF), changed);
        assertEquals(ImageTransform.HALF, changed.with("mean=0.5").mean());
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(delimiter = ';', value = {
        "resize=big; resize is \"big\"", "resize=0; resize is \"0\"", "crop=none; crop is \"none\"",
        "mean=0.5:0.5; mean is \"0.5:0.5\"", "std=0:1:1; std is 0.0:1.0:1.0", "mean=NaN; mean is NaN",
        "filter=cubic; filter is \"cubic\"",
        "fit=wider; fit is \"wider\"", "centre=left; centre is \"left\"", "border=red; border is \"red\"", "std=1e-45; at most 1000000", "size=224; no setting \"size\"", "224; has \"224\" where", "crop=1,crop=2; has crop twice",
        "resize=99999; resize is 99999", "'crop=224,'; has \"\" where"})
    void aWrongSettingIsRefusedWithWhatIsAllowed(String settings, String expected) {
        IllegalArgumentException error = assertThrows(IllegalArgumentException.class, () -> VIT.with(settings));
        assertTrue(error.getMessage().contains(expected), error.getMessage());
    }
}
