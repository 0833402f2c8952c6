package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

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

    private final List<String> notes = new ArrayList<>();

    private static ImageFolder folders(String... names) {
        List<String> sorted = Arrays.stream(names).sorted().toList();
        return new ImageFolder(Path.of("pictures"), sorted.stream().map(name -> name + "/1.jpg").toList(), sorted);
    }

    private int[] ofFolders(ImageFolder folder, ClassNames names, int classes) {
        return Labels.ofFolders(folder, names, classes, notes::add).of(folder.ids());
    }

    @Test
    void foldersNamedByNumbersAreThoseClasses() {
        assertArrayEquals(new int[] {0, 1, 10, 2}, ofFolders(folders("0", "1", "2", "10"), ClassNames.NONE, 50));
        assertTrue(notes.get(0).contains("folder N is class N"), notes.toString());
        assertArrayEquals(new int[] {3, 41}, ofFolders(folders("003", "041"), ClassNames.NONE, 50));
        String message = assertThrows(ImageException.class, () -> ofFolders(folders("1", "2", "3"), ClassNames.NONE, 3)).getMessage();
        assertTrue(message.contains("0 to 2") && message.contains("counted from 1?"), message);
        assertTrue(assertThrows(ImageException.class, () -> ofFolders(folders("1", "01"), ClassNames.NONE, 3)).getMessage()
                .contains("same number"));
    }

    @Test
    void whereNumbersInNamesWouldGiveAnotherOrderTheOneTakenIsTold() {
        assertArrayEquals(new int[] {0, 1, 2}, ofFolders(folders("class1", "class2", "class10"), ClassNames.NONE, 3));
        assertTrue(notes.get(0).contains("class1, class10, class2"), notes.toString());
        notes.clear();
        ofFolders(folders("n01", "n02", "n10"), ClassNames.NONE, 3);
        assertEquals(List.of(), notes);
    }

    @ParameterizedTest
    @ValueSource(strings = {"n01440764 tench, Tinca tinca\nn01443537 goldfish\nn01484850 great white shark, man-eater\n",
        "n01440764\nn01443537\nn01484850", "0 n01440764 tench\n2 n01484850 great white shark\n1 n01443537 goldfish",
        "[\"n01440764\", \"n01443537\", \"n01484850\"]",
        "{\"0\": [\"n01440764\", \"tench\"], \"1\": [\"n01443537\", \"goldfish\"], \"2\": [\"n01484850\", \"great_white_shark\"]}",
        "{\"n01440764\": 0, \"n01443537\": 1, \"n01484850\": 2}", "{\"id2label\": {\"0\": \"n01440764\", \"1\": \"n01443537\", \"2\": \"n01484850\"}}"})
    void wnidsAreFoundThroughAFileOfSynsets(String text) throws IOException {
        ClassNames names = ClassNames.read(Files.writeString(root.resolve("synsets"), text), 3);
        assertArrayEquals(new int[] {0, 2}, ofFolders(folders("n01440764", "n01484850"), names, 3));
        Labels labels = Labels.read(Files.writeString(root.resolve("labels.txt"), "a.jpg n01484850\nb c.jpg n01443537\n"), names, flat, 3);
        assertArrayEquals(new int[] {2, 1}, labels.of(flat.ids()));
        String message = assertThrows(ImageException.class, () -> ofFolders(folders("n99999999"), names, 3)).getMessage();
        assertTrue(message.contains("n99999999") && message.contains("synsets"), message);
        assertTrue(assertThrows(ImageException.class, () -> ClassNames.read(root.resolve("synsets"), 1000)).getMessage()
                .contains("3 classes, but the model has 1000"));
    }

    @Test
    void namesOfClassesAreFoundAndThoseOfTwoClassesAreNot() throws IOException {
        ClassNames names = ClassNames.read(Files.writeString(root.resolve("synsets"),
                "n01 crane\nn02012849 crane, bird\nn03126707 crane, machine\nn02 great white shark"), 4);
        assertArrayEquals(new int[] {3, 2}, ofFolders(folders("Great_White-Shark", "machine"), ClassNames.read(
                Files.writeString(root.resolve("other"), "crane\nbird\nmachine\ngreat white shark"), 4), 4));
        assertThrows(ImageException.class, () -> ofFolders(folders("crane"), names, 4));
    }

    @ParameterizedTest
    @ValueSource(strings = {"file,label\na.jpg,9\nb c.jpg,0\n", "\"file\";\"label\"\n\"a.jpg\";\"9\"\n\"b c.jpg\";\"0\"\n", "a.jpg, 9\nb c.jpg, 0",
        "a,9\nb c,0\n", "9,a.jpg\n0,b c.jpg", "filename\tclass_id\na.jpg\t9\nb c.jpg\t0", ",image_id,label,split\n0,a,9.0,val\n1,b c,0.0,val\n",
        "a 9\nb c 0\n", "\"b c.jpg\" 0\n\"a.jpg\" 9", "file label\nb c.jpg 0\na.jpg 9", "\ufeffImage Path,Class\r\nval/a.jpg,9\r\nval/b c.jpg,0\r\n",
        ".\\a.jpg 9\n.\\b c.jpg 0"})
    void commasQuotesHeadersAndMissingEndingsAreUnderstood(String text) throws IOException {
        assertArrayEquals(new int[] {9, 0}, read(flat, text).of(flat.ids()));
    }

    @Test
    void kagglesSolutionsAreUnderstoodWithSynsets() throws IOException {
        ClassNames names = ClassNames.read(Files.writeString(root.resolve("synsets"), "n01440764 tench\nn01443537 goldfish"), 2);
        Path file = Files.writeString(root.resolve("labels.csv"),
                "ImageId,PredictionString\na,n01443537 85 1 499 272 \nb c,n01440764 5 1 9 2 n01440764 7 7 8 8 \n");
        assertArrayEquals(new int[] {1, 0}, Labels.read(file, names, flat, 2).of(flat.ids()));
        String message = assertThrows(ImageException.class, () -> Labels.read(file, flat, 2)).getMessage();
        assertTrue(message.contains("Line 2") && message.contains("--synsets"), message);
    }

    @Test
    void namesWithCommasAreStillNames() throws IOException {
        ImageFolder odd = new ImageFolder(Path.of("pictures"), List.of("Doe, Jane 1.jpg", "Doe, John 2.jpg"), List.of());
        assertArrayEquals(new int[] {3, 4}, read(odd, "Doe, Jane 1.jpg 3\nDoe, John 2.jpg 4\n").of(odd.ids()));
    }

    @Test
    void columnsThatNobodyNamesAreRefusedWithASuggestion() {
        String message = assertThrows(ImageException.class, () -> read(flat, "a.jpg,9,val\nb c.jpg,0,val\n")).getMessage();
        assertTrue(message.contains("Line 1") && message.contains("3 fields") && message.contains("file,label"), message);
    }

    @Test
    void longLinesTakeNoLongerThanTheyAre() throws IOException {
        for (String line : new String[] {"a" + " ".repeat(300_000) + "b c", "a ".repeat(200_000), "./".repeat(200_000) + "a.jpg 1",
            "x".repeat(1_000_000), "\\".repeat(100_000) + " 1", ",".repeat(300_000)}) {
            assertThrows(ImageException.class, () -> read(flat, line + "\nz"));
        }
    }

    @Test
    void aFileOfLabelsBesideTheImagesIsFound() throws IOException {
        for (String name : new String[] {"a.png", "b.png"}) {
            Files.write(root.resolve(name), new byte[1]);
        }
        Files.writeString(root.resolve("labels.txt"), "a.png 3\nb.png 1\n");
        ImageFolder folder = ImageFolder.open(root);
        Labels labels = Labels.of(Optional.empty(), ClassNames.NONE, folder, 10, notes::add);
        assertArrayEquals(new int[] {3, 1}, labels.of(folder.ids()));
        assertTrue(notes.get(0).contains(root.resolve("labels.txt").toString()), notes.toString());
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
