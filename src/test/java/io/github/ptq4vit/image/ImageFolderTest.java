package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageFolderTest {
    @TempDir
    Path root;

    private void touch(String... ids) throws IOException {
        for (String id : ids) {
            Path file = root.resolve(id);
            Files.createDirectories(file.getParent());
            Files.createFile(file);
        }
    }

    private String refusal() {
        return assertThrows(ImageException.class, () -> ImageFolder.open(root)).getMessage();
    }

    @Test
    void aFlatFolderListsItsImagesInTheOrderOfTheirCharacters() throws IOException {
        touch("b.JPEG", "a.png", "Z.jpg", "notes.txt", ".hidden.jpg", ".cache/x.jpg", "labels/readme");
        ImageFolder folder = ImageFolder.open(root);
        assertEquals(List.of("Z.jpg", "a.png", "b.JPEG"), folder.ids());
        assertEquals(List.of(), folder.classes());
        assertEquals(root.resolve("a.png"), folder.file("a.png"));
    }

    @Test
    void foldersBelowAreTheClassesInTheOrderOfTheirNames() throws IOException {
        touch("n02/a.jpg", "n01/deeper/c.jpg", "n01/b.jpg", "n00/readme.txt", "labels.txt");
        ImageFolder folder = ImageFolder.open(root);
        assertEquals(List.of("n01/b.jpg", "n01/deeper/c.jpg", "n02/a.jpg"), folder.ids());
        assertEquals(List.of("n00", "n01", "n02"), folder.classes());
    }

    @Test
    void imagesAtTheTopAndInFoldersAreRefused() throws IOException {
        touch("a.jpg", "n01/b.jpg");
        assertEquals("The folder " + root + " has images at its top (a.jpg) and in folders (n01/b.jpg); have them all "
                + "at the top, or all in one folder per class", refusal());
    }

    @Test
    void linksThatLeadInCirclesEnd() throws IOException {
        touch("n01/b.jpg", "n02/c.jpg", "__MACOSX/n01/d.jpg");
        Files.createSymbolicLink(root.resolve("n01/up"), root);
        assertEquals(List.of("n01/b.jpg", "n02/c.jpg"), ImageFolder.open(root).ids());
        assertEquals(List.of("n01", "n02"), ImageFolder.open(root).classes());
    }

    @Test
    void aFolderWithoutImagesIsRefused() throws IOException {
        touch("a.gif");
        assertTrue(refusal().startsWith("The folder " + root + " has no images;"), refusal());
    }

    @Test
    void aMissingFolderAndAFileAreRefused() throws IOException {
        touch("a.jpg");
        Path missing = root.resolve("missing");
        assertEquals("There is no folder " + missing,
                assertThrows(ImageException.class, () -> ImageFolder.open(missing)).getMessage());
        Path file = root.resolve("a.jpg");
        assertEquals(file + " is a file; the images are expected in a folder",
                assertThrows(ImageException.class, () -> ImageFolder.open(file)).getMessage());
    }

    @Test
    void aSampleDependsOnTheSeedAloneAndContainsTheSmallerOnes() {
        ImageFolder folder = new ImageFolder(root,
                IntStream.range(0, 100).mapToObj(i -> i + ".jpg").sorted().toList(), List.of());
        List<String> sample = folder.sample(32, 3);
        assertEquals(sample, folder.sample(32, 3));
        assertNotEquals(sample, folder.sample(32, 4));
        assertEquals(32, new HashSet<>(sample).size());
        assertEquals(sample.subList(0, 8), folder.sample(8, 3));
        assertEquals(folder.ids(), folder.sample(100, 3).stream().sorted().toList());
        // written down once: a new version of the generator must not change what users calibrated with
        assertEquals(List.of("32.jpg", "96.jpg", "79.jpg", "1.jpg"), folder.sample(4, 0));
    }

    @Test
    void askingForMoreImagesThanThereAreSaysHowManyThereAre() throws IOException {
        touch("a.jpg", "b.jpg");
        ImageFolder folder = ImageFolder.open(root);
        assertEquals("Asked for 3 images, but the folder " + root + " has only 2",
                assertThrows(ImageException.class, () -> folder.sample(3, 0)).getMessage());
        assertThrows(ImageException.class, () -> folder.sample(0, 0));
    }
}
