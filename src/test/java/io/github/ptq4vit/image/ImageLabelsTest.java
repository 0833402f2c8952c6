package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImageLabelsTest {
    @TempDir
    Path root;

    private final ImageFolder flat = new ImageFolder(Path.of("pictures"), List.of("a.jpg", "b c.jpg"), List.of());
    private final ImageFolder sorted = new ImageFolder(Path.of("pictures"), List.of("x/1.jpg", "x/2.jpg", "y/1.jpg"),
            List.of("x", "y"));

    private Labels read(ImageFolder folder, String text) throws IOException {
        return Labels.read(Files.writeString(root.resolve("labels.txt"), text), folder, 10);
    }

    @Test
    void linesBelongToImagesByNameWhateverTheirOrderAndSpacing() throws IOException {
        Labels labels = read(flat, "\ufeffother.jpg 1\r\nb c.jpg\t 0\n\n  val/a.jpg   9  \n");
        assertArrayEquals(new int[] {9, 0}, labels.of(flat.ids()));
        assertThrows(IllegalArgumentException.class, () -> labels.of("other.jpg"));
    }

    @Test
    void theWholePathGoesBeforeTheBaseName() throws IOException {
        Labels labels = read(sorted, "y/1.jpg 7\n./x/1.jpg 6\n2.jpg 5\n");
        assertArrayEquals(new int[] {6, 5, 7}, labels.of(sorted.ids()));
    }

    @Test
    void aBaseNameOfTwoLinesIsRefused() throws IOException {
        String message = assertThrows(ImageException.class, () -> read(flat, "p/a.jpg 1\nq/a.jpg 2\n")).getMessage();
        assertTrue(message.startsWith("The image a.jpg of pictures could be meant by line 1 or by line 2 "), message);
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(delimiter = ';', value = {
        "a.jpg; Line 2 of the labels in FILE is \"a.jpg\"", "a.jpg one; is \"a.jpg one\"; expected",
        "a.jpg 1.5; is \"a.jpg 1.5\"", "7; Line 2 of the labels in FILE is \"7\"",
        "a.jpg -1; Line 2 of the labels in FILE has class -1", "a.jpg 10; (are the labels counted from 1?)",
        "a.jpg 99; the classes 0 to 9", "b c.jpg 2; Line 2 of the labels in FILE repeats the file b c.jpg of line 1",
        "c.jpg 2; The labels in FILE have no line for the image a.jpg of pictures"})
    void aWrongLineIsRefusedWithItsNumber(String line, String expected) {
        String message = assertThrows(ImageException.class, () -> read(flat, "b c.jpg 3\n" + line + "\n")).getMessage();
        assertTrue(message.contains(expected.replace("FILE", root.resolve("labels.txt").toString())), message);
    }

    @Test
    void aFileThatIsMissingOrNoTextIsRefused() throws IOException {
        Path missing = root.resolve("missing.txt");
        assertEquals("There is no file of labels " + missing,
                assertThrows(ImageException.class, () -> Labels.read(missing, flat, 10)).getMessage());
        Path binary = Files.write(root.resolve("binary"), new byte[] {(byte) 0xff, (byte) 0xfe, 0});
        String message = assertThrows(ImageException.class, () -> Labels.read(binary, flat, 10)).getMessage();
        assertTrue(message.startsWith("Cannot read the labels in " + binary), message);
    }

    @Test
    void foldersAreLabelsByTheirPosition() {
        assertArrayEquals(new int[] {0, 0, 1}, Labels.ofFolders(sorted, 2).of(sorted.ids()));
    }

    @Test
    void foldersThatDoNotFitTheModelAreRefused() {
        assertEquals("The images of pictures do not lie in one folder per class; give a file of labels",
                assertThrows(ImageException.class, () -> Labels.ofFolders(flat, 10)).getMessage());
        assertTrue(assertThrows(ImageException.class, () -> Labels.ofFolders(sorted, 1000)).getMessage()
                .contains("has 2 class folders, but the model has 1000 classes"));
        ImageFolder withEmpty = new ImageFolder(Path.of("pictures"), List.of("x/1.jpg"), List.of("logs", "x"));
        assertTrue(assertThrows(ImageException.class, () -> Labels.ofFolders(withEmpty, 2)).getMessage()
                .contains(Path.of("pictures", "logs") + " has no images"));
    }
}
