package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.tensor.Printable;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DecodingMemoryTest {
    private static final int PHOTOGRAPHS = 20;
    private static final long MEGABYTE = 1 << 20;

    @TempDir
    Path folder;

    /** Run in a process with a small heap: loads a folder on 16 threads and prints what became of it. */
    public static void main(String[] args) {
        ImageFolder folder = ImageFolder.open(Path.of(args[0]));
        ImageTransform transform = ImageTransform.timm(224, 0.9, ImageTransform.HALF, ImageTransform.HALF);
        int images = 0;
        try (ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, 4, 16)) {
            while (loader.hasNext()) {
                images += loader.next().size();
            }
            System.out.println(images + " images, " + loader.skipped().size() + " left out " + loader.skipped());
        }
    }

    private String load(int megabytes) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx" + megabytes + "m",
                "-XX:+UseSerialGC", "-Xmn8m", "-Djava.awt.headless=true", "-cp", System.getProperty("java.class.path"),
                DecodingMemoryTest.class.getName(), folder.toString()).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return output;
    }

    @Test
    void manyThreadsDecodeLargePhotographsInASmallHeap() throws Exception {
        // 6 megapixels are 18 MB of RGB: 16 at once would take three times this heap
        BufferedImage image = new BufferedImage(3000, 2000, BufferedImage.TYPE_3BYTE_BGR);
        for (int y = 0; y < 2000; y += 7) {
            image.setRGB(y, y, 0xffffff);
        }
        ByteArrayOutputStream jpeg = new ByteArrayOutputStream();
        ImageIO.write(image, "jpg", jpeg);
        for (int i = 0; i < PHOTOGRAPHS; i++) {
            Files.write(folder.resolve("photograph" + i + ".jpg"), jpeg.toByteArray());
        }
        String output = load(96);
        assertTrue(output.contains(PHOTOGRAPHS + " images, 0 left out"), output);
        // in a heap in which not even one has room each is left out by its name
        output = load(32);
        assertTrue(output.contains("None of the " + PHOTOGRAPHS + " images") && output.contains("Left out photograph0.jpg"), output);
    }

    @Test
    void anImageOfMoreThanHalfTheHeapIsRefusedByName() {
        DecodingMemory memory = new DecodingMemory(100 * MEGABYTE, 0);
        memory.hold("a.jpg", 50 * MEGABYTE).close();
        String message = assertThrows(ImageException.class, () -> memory.hold("a.jpg", 51 * MEGABYTE)).getMessage();
        assertTrue(message.contains("a.jpg") && message.contains("51 MB") && message.contains("100 MB") && message.contains("-Xmx"), message);
    }

    @Test
    void threadsWaitUntilThereIsRoom() throws InterruptedException {
        DecodingMemory memory = new DecodingMemory(100 * MEGABYTE, 0);
        DecodingMemory.Held first = memory.hold("a", 40 * MEGABYTE);
        AtomicBoolean held = new AtomicBoolean();
        Thread second = new Thread(() -> {
            try (DecodingMemory.Held more = memory.hold("b", 40 * MEGABYTE)) {
                held.set(true);
            }
        });
        second.start();
        while (second.getState() != Thread.State.WAITING) {
            Thread.onSpinWait();
        }
        assertEquals(false, held.get());
        first.close();
        second.join();
        assertTrue(held.get());
    }

    @Test
    void whatTakesTooLongOrIsNoFileIsRefusedByName() throws IOException {
        byte[] progressive = Golden.bytes("kinds/progressive.jpg");
        // the frame header is said to be of 60000 x 60000 pixels
        for (int i = 0; i + 1 < progressive.length; i++) {
            if (progressive[i] == (byte) 0xff && progressive[i + 1] == (byte) 0xc2) {
                for (int k = 5; k < 9; k += 2) {
                    progressive[i + k] = (byte) 0xea;
                    progressive[i + k + 1] = 0x60;
                }
                break;
            }
        }
        String message = assertThrows(ImageException.class, () -> ImageDecoder.decode(progressive, "p.jpg")).getMessage();
        assertTrue(message.contains("p.jpg") && message.contains("60000") && message.contains("scans"), message);
        Path device = Path.of("/dev/zero");
        assertTrue(assertThrows(ImageException.class, () -> ImageDecoder.read(device)).getMessage().contains("no regular file"));
    }

    @Test
    void namesOfImagesCannotActOnATerminal() throws IOException {
        Path file = Files.write(folder.resolve("a\u001b[2Jb.jpg"), new byte[3]);
        String message = assertThrows(ImageException.class, () -> ImageDecoder.read(file)).getMessage();
        assertTrue(message.indexOf('\u001b') < 0 && message.contains("\\u001b"), message);
        assertEquals("a\\u202eb", Printable.of("a\u202eb"));
        assertEquals("größe", Printable.of("größe"));
    }
}
