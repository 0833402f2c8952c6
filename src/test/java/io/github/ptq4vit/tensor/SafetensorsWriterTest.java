package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
    @TempDir
    Path folder;

    @Test
    void everyDtypeComesBackAsItWasWritten() {
        float[] floats = {0, -0f, Float.NaN, Float.MIN_VALUE, -Float.MAX_VALUE, Float.POSITIVE_INFINITY};
        byte[] bytes = {Byte.MIN_VALUE, -1, 0, 1, Byte.MAX_VALUE};
        int[] ints = {Integer.MIN_VALUE, 0, Integer.MAX_VALUE};
        long[] longs = {Long.MIN_VALUE, 0, Long.MAX_VALUE};
        Path path = folder.resolve("all.safetensors");
        new SafetensorsWriter().metadata("note", "\u00e4 \"quoted\" \n").addBytes("i8", DType.I8, Shape.of(5), bytes)
                .add("f32", Tensor.of(Shape.of(2, 3), floats)).addBytes("u8", DType.U8, Shape.of(1, 5), bytes)
                .addInts("i32 \u2028\"", Shape.of(3), ints).addLongs("i64", Shape.of(3, 1, 1), longs)
                .add("empty", Tensor.zeros(0, 7)).add("scalar", Tensor.of(Shape.of(), 3)).write(path);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(List.of("i8", "f32", "u8", "i32 \u2028\"", "i64", "empty", "scalar"),
                    List.copyOf(file.names()));
            assertEquals(Map.of("note", "\u00e4 \"quoted\" \n"), file.metadata());
            assertArrayEquals(bytes, file.readBytes("i8"));
            assertArrayEquals(floats, file.read("f32").toArray());
            assertEquals(Shape.of(2, 3), file.info("f32").shape());
            assertArrayEquals(bytes, file.readBytes("u8"));
            assertEquals(DType.U8, file.info("u8").dtype());
            assertArrayEquals(ints, file.readInts("i32 \u2028\""));
            assertArrayEquals(longs, file.readLongs("i64"));
            assertEquals(Shape.of(0, 7), file.read("empty").shape());
            assertArrayEquals(new float[] {3}, file.read("scalar").toArray());
        }
    }

    @Test
    void tensorsLongerThanTheBufferComeBackAsTheyWereWritten() {
        int count = 700_001;
        Random random = new Random(1);
        float[] floats = new float[count];
        byte[] bytes = new byte[3_000_001];
        int[] ints = new int[count];
        long[] longs = new long[count];
        random.nextBytes(bytes);
        for (int i = 0; i < count; i++) {
            floats[i] = random.nextFloat();
            ints[i] = random.nextInt();
            longs[i] = random.nextLong();
        }
        Path path = folder.resolve("long.safetensors");
        new SafetensorsWriter().addBytes("b", DType.I8, Shape.of(bytes.length), bytes)
                .add("f", Tensor.of(Shape.of(count), floats)).addInts("i", Shape.of(count), ints)
                .addLongs("l", Shape.of(count), longs).write(path);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertArrayEquals(bytes, file.readBytes("b"));
            assertArrayEquals(floats, file.read("f").toArray());
            assertArrayEquals(ints, file.readInts("i"));
            assertArrayEquals(longs, file.readLongs("l"));
        }
    }

    @Test
    void theBytesAreTheOnesTheFormatPrescribes() throws IOException {
        Path path = folder.resolve("bytes.safetensors");
        new SafetensorsWriter().metadata("b", "2").metadata("a", "1").add("w", Tensor.of(Shape.of(1), 1f))
                .addBytes("c", DType.I8, Shape.of(), (byte) 7).write(path);
        String header = "{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\"},"
                + "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                + "\"c\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[4,5]}}";
        String padded = header + " ".repeat((8 - header.length() % 8) % 8);
        assertArrayEquals(RawSafetensors.bytes(padded, (byte) 0, (byte) 0, (byte) 0x80, (byte) 0x3f, (byte) 7),
                Files.readAllBytes(path));
        assertEquals(0, padded.getBytes(StandardCharsets.UTF_8).length % 8);
    }

    @Test
    void aMappedTensorAndALazyOneAreWrittenLikeAnArray() throws IOException {
        Tensor heap = Tensor.of(Shape.of(2, 2), 1, 2, 3, 4);
        FloatBuffer direct = ByteBuffer.allocateDirect(16).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
        direct.put(0, heap.toArray());
        Path array = folder.resolve("array");
        Path memory = folder.resolve("memory");
        Path lazy = folder.resolve("lazy");
        new SafetensorsWriter().add("t", heap).write(array);
        new SafetensorsWriter().add("t", new Tensor(heap.shape(), direct)).write(memory);
        try (SafetensorsFile file = SafetensorsFile.open(array)) {
            new SafetensorsWriter().add("t", heap.shape(), () -> file.read("t")).write(lazy);
        }
        assertEquals(-1, Files.mismatch(array, memory));
        assertEquals(-1, Files.mismatch(array, lazy));
    }

    @Test
    void wrongCallsAreRefused() {
        SafetensorsWriter writer = new SafetensorsWriter().add("t", Tensor.zeros(1));
        assertThrows(IllegalArgumentException.class, () -> writer.add("t", Tensor.zeros(1)));
        assertThrows(IllegalArgumentException.class, () -> writer.add("__metadata__", Tensor.zeros(1)));
        assertThrows(IllegalArgumentException.class, () -> writer.addBytes("b", DType.F32, Shape.of(4), new byte[4]));
        assertThrows(IllegalArgumentException.class, () -> writer.addBytes("b", DType.I8, Shape.of(4), new byte[3]));
        assertThrows(IllegalArgumentException.class, () -> writer.addInts("i", Shape.of(4), 1, 2, 3));
        assertThrows(IllegalArgumentException.class, () -> writer.addLongs("l", Shape.of(), new long[0]));
    }

    @Test
    void aFileThatCannotBeWrittenLeavesTheOldOne() throws IOException {
        Path target = Files.writeString(folder.resolve("old.safetensors"), "old");
        Path inTheWay = Files.createDirectories(folder.resolve("old.safetensors.tmp/holds something"));
        SafetensorsWriter writer = new SafetensorsWriter().add("t", Tensor.zeros(1 << 20));
        assertRefused(target, () -> writer.write(target), "cannot be written", "nothing was changed");
        assertEquals("old", Files.readString(target));
        assertTrue(Files.exists(inTheWay));
    }

    @Test
    void linksInTheWayAreReplacedAndNotFollowed() throws IOException {
        Path outside = Files.writeString(folder.resolve("outside"), "mine");
        Path target = Files.createSymbolicLink(folder.resolve("new.safetensors"), outside);
        Path temporary = Files.createSymbolicLink(folder.resolve("new.safetensors.tmp"), outside);
        new SafetensorsWriter().add("t", Tensor.zeros(3)).write(target);
        assertEquals("mine", Files.readString(outside));
        assertTrue(Files.isRegularFile(target, LinkOption.NOFOLLOW_LINKS));
        assertFalse(Files.exists(temporary, LinkOption.NOFOLLOW_LINKS));
    }

    @Test
    void aTensorThatCannotBeMadeLeavesNothingBehind() throws IOException {
        Path target = folder.resolve("new.safetensors");
        SafetensorsWriter failing = new SafetensorsWriter().add("t", Shape.of(1), () -> {
            throw new IllegalStateException("no data");
        });
        assertThrows(IllegalStateException.class, () -> failing.write(target));
        SafetensorsWriter lying = new SafetensorsWriter().add("t", Shape.of(1), () -> Tensor.zeros(2));
        String message = assertThrows(IllegalArgumentException.class, () -> lying.write(target)).getMessage();
        assertTrue(message.contains("\"t\"") && message.contains("[1]") && message.contains("[2]"), message);
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(), left.toList());
        }
    }

    @Test
    void aTargetThatCannotBeIsRefusedByName() throws IOException {
        SafetensorsWriter writer = new SafetensorsWriter().add("t", Tensor.zeros(1));
        assertRefused(folder, () -> writer.write(folder), "is a folder");
        Path lost = folder.resolve("nowhere").resolve("x");
        assertRefused(lost, () -> writer.write(lost), "does not exist", "make it first");
        Path blocked = folder.resolve("blocked");
        Files.createDirectories(folder.resolve("blocked.tmp").resolve("full"));
        assertRefused(blocked, () -> writer.write(blocked), "cannot be written");
        assertTrue(Files.isDirectory(folder.resolve("blocked.tmp").resolve("full")), "what is not ours stays");
    }

    @Test
    void writingOverAFileReplacesItWhole() {
        Path path = folder.resolve("twice.safetensors");
        new SafetensorsWriter().add("long", Tensor.zeros(10_000)).write(path);
        new SafetensorsWriter().add("short", Tensor.zeros(1)).write(path);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(List.of("short"), List.copyOf(file.names()));
        }
    }

    private static void assertRefused(Path path, Executable action, String... parts) {
        String message = assertThrows(TensorFileException.class, action).getMessage();
        assertTrue(message.startsWith(path + ": "), message);
        for (String part : parts) {
            assertTrue(message.contains(part), () -> "\"" + message + "\" should contain \"" + part + "\"");
        }
    }
}
