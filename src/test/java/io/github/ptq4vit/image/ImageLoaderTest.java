package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.tensor.Shape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.NoSuchElementException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class ImageLoaderTest {
    private static final ImageTransform TRANSFORM = ImageTransform.timm(6, 1, ImageTransform.HALF, ImageTransform.HALF);
    private static final int IMAGES = 23;
    /** Positions of the damaged ones. */
    private static final List<Integer> DAMAGED = List.of(3, 11, 22);

    @TempDir
    Path root;
    private ImageFolder folder;

    @BeforeEach
    void writeImages() throws IOException {
        List<String> sources = List.of("kinds/rgb.png", "kinds/ycc420.jpg", "kinds/grey.jpg", "kinds/cmyk.jpg");
        for (int i = 0; i < IMAGES; i++) {
            byte[] content = Golden.bytes(sources.get(i % sources.size()));
            Files.write(root.resolve(String.format(Locale.ROOT, "%02d.jpg", i)),
                    DAMAGED.contains(i) ? Arrays.copyOf(content, content.length / 2) : content);
        }
        folder = ImageFolder.open(root);
    }

    private static List<Batch> drain(ImageLoader loader) {
        List<Batch> batches = new ArrayList<>();
        loader.forEachRemaining(batches::add);
        return batches;
    }

    @Test
    void batchesKeepTheOrderOfTheIdsAndSkipDamagedImages() {
        for (int threads = 1; threads <= 4; threads++) {
            try (ImageLoader loader = ImageLoader.all(folder, folder.ids(), TRANSFORM, 8, threads)) {
                List<Batch> batches = drain(loader);
                assertEquals(List.of(8, 8, 4), batches.stream().map(Batch::size).toList());
                int position = 0;
                for (Batch batch : batches) {
                    assertEquals(Shape.of(batch.size(), 3, 6, 6), batch.pixels().shape());
                    for (int i = 0; i < batch.size(); i++, position++) {
                        position += DAMAGED.contains(position) ? 1 : 0;
                        String id = batch.ids().get(i);
                        assertEquals(folder.ids().get(position), id);
                        assertEquals(position, batch.positions()[i]);
                        assertArrayEquals(TRANSFORM.apply(ImageDecoder.read(folder.file(id))),
                                batch.pixels().slice(i, i + 1).toArray());
                    }
                }
                assertEquals(List.of("03.jpg", "11.jpg", "22.jpg"),
                        loader.skipped().stream().map(ImageLoader.Skipped::id).toList());
                assertTrue(loader.skipped().get(0).reason().contains(root.resolve("03.jpg").toString()));
                assertFalse(loader.hasNext());
                assertThrows(NoSuchElementException.class, loader::next);
            }
        }
    }

    @Test
    void aDamagedImageIsReplacedByTheNextOfTheList() {
        try (ImageLoader loader = ImageLoader.first(4, folder, folder.ids(), TRANSFORM, 3, 2)) {
            List<Batch> batches = drain(loader);
            assertEquals(List.of("00.jpg", "01.jpg", "02.jpg"), batches.get(0).ids());
            assertEquals(List.of("04.jpg"), batches.get(1).ids());
            assertEquals(2, batches.size());
            assertEquals(1, loader.skipped().size());
        }
    }

    @Test
    void tooFewReadableImagesAreAnErrorThatCountsThem() {
        try (ImageLoader loader = ImageLoader.first(21, folder, folder.ids(), TRANSFORM, 64, 2)) {
            String message = assertThrows(ImageException.class, loader::hasNext).getMessage();
            assertTrue(message.startsWith("Asked for 21 images, but only 20 of the 23 images of " + root
                    + " could be read. First of the 3 left out: The image " + root.resolve("03.jpg")), message);
            assertFalse(loader.hasNext());
        }
        String message = assertThrows(ImageException.class,
                () -> ImageLoader.first(24, folder, folder.ids(), TRANSFORM, 64, 2)).getMessage();
        assertEquals("Asked for 24 images, but the folder " + root + " has only 23", message);
    }

    @Test
    void noReadableImageAtAllIsAnError() {
        try (ImageLoader loader = ImageLoader.all(folder, List.of("03.jpg", "gone.jpg"), TRANSFORM, 8, 2)) {
            String message = assertThrows(ImageException.class, loader::next).getMessage();
            assertTrue(message.startsWith("None of the 2 images of " + root + " could be read."), message);
        }
    }

    @Test
    void anEmptyListGivesNoBatch() {
        try (ImageLoader loader = ImageLoader.all(folder, List.of(), TRANSFORM, 8, 2)) {
            assertFalse(loader.hasNext());
        }
    }

    @Test
    void closingEarlyStopsTheThreadsAndEndsTheIteration() throws InterruptedException {
        ThreadGroup group = new ThreadGroup("loader test");
        Throwable[] failure = new Throwable[1];
        Thread user = new Thread(group, () -> {
            ImageLoader loader = ImageLoader.all(folder, folder.ids(), TRANSFORM, 2, 3);
            loader.next();
            loader.close();
            loader.close();
            assertFalse(loader.hasNext());
            assertThrows(NoSuchElementException.class, loader::next);
        });
        user.setUncaughtExceptionHandler((thread, thrown) -> failure[0] = thrown);
        user.start();
        user.join();
        assertNull(failure[0]);
        while (group.activeCount() > 0) {
            Thread.sleep(5);
        }
    }

    @Test
    void anErrorOfTheTransformReachesTheConsumer() {
        ImageTransform huge = new ImageTransform(0, 1 << 14, ImageTransform.HALF, ImageTransform.HALF);
        assertThrows(IllegalArgumentException.class, () -> ImageLoader.all(folder, folder.ids(), huge, 8, 1));
        ImageFolder broken = new ImageFolder(root, List.of("\0.jpg"), List.of());
        try (ImageLoader loader = ImageLoader.all(broken, broken.ids(), TRANSFORM, 8, 1)) {
            IllegalStateException error = assertThrows(IllegalStateException.class, loader::next);
            assertTrue(error.getMessage().startsWith("Loading an image failed: java.nio.file.InvalidPathException"),
                    error.getMessage());
        }
    }
}
