package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsFuzzTest {
    private static final int TRIES = 2000;
    @TempDir
    Path folder;
    private byte[] valid;
    private int files;

    @BeforeEach
    void writeAValidFile() throws IOException {
        Path path = folder.resolve("valid.safetensors");
        new SafetensorsWriter().metadata("k", "v").add("f", Tensor.zeros(2, 3)).addLongs("l", Shape.of(2), 1, 2)
                .addInts("i", Shape.of(3), 1, 2, 3).addBytes("b", DType.I8, Shape.of(5), new byte[5]).write(path);
        valid = Files.readAllBytes(path);
    }

    @Test
    void flippedBytesAreReadOrRefusedWithAMessage() throws IOException {
        Random random = new Random(20261122);
        int refused = 0;
        for (int i = 0; i < TRIES; i++) {
            byte[] bytes = valid.clone();
            for (int flips = 1 + random.nextInt(4); flips > 0; flips--) {
                bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
            }
            refused += refuses(bytes) ? 1 : 0;
        }
        assertTrue(refused > TRIES / 2 && refused < TRIES, "refused " + refused);
    }

    @Test
    void changedDigitsAndLettersOfTheHeaderAreReadOrRefusedWithAMessage() throws IOException {
        byte[] letters = "0123456789-.eE[]{},:\"\\u FIUnatl".getBytes(StandardCharsets.US_ASCII);
        Random random = new Random(7);
        int header = valid.length - 24 - 16 - 12 - 5 - 8;
        for (int i = 0; i < TRIES; i++) {
            byte[] bytes = valid.clone();
            for (int flips = 1 + random.nextInt(3); flips > 0; flips--) {
                bytes[8 + random.nextInt(header)] = letters[random.nextInt(letters.length)];
            }
            refuses(bytes);
        }
    }

    @Test
    void everyTruncationIsRefused() throws IOException {
        for (int length = 0; length < valid.length; length++) {
            assertTrue(refuses(Arrays.copyOf(valid, length)), "length " + length);
        }
        assertFalse(refuses(valid));
    }

    private boolean refuses(byte[] bytes) throws IOException {
        // A new file each time: shortening one that is still mapped is slow.
        Path path = Files.write(folder.resolve("fuzzed" + files++ + ".safetensors"), bytes);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            for (String name : file.names()) {
                switch (file.info(name).dtype()) {
                    case F32, F16, BF16, F64 -> file.read(name);
                    case I8, U8, BOOL -> file.readBytes(name);
                    case I32 -> file.readInts(name);
                    default -> file.readLongs(name);
                }
            }
            return false;
        } catch (TensorFileException e) {
            assertTrue(e.getMessage().startsWith(path.toString()), e.getMessage());
            return true;
        } catch (RuntimeException | Error e) {
            return fail("bytes " + Arrays.toString(bytes), e);
        }
    }
}
