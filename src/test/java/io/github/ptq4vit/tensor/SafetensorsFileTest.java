package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsFileTest {
    @TempDir
    Path folder;

    @Test
    void namesMetadataAndPlacesComeFromTheHeader() {
        Path path = RawSafetensors.write(folder.resolve("a.safetensors"), "{\"__metadata__\":{\"format\":\"pt\"},"
                + "\"z\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[4,6]},"
                + "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ", new byte[6]);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(List.of("z", "a"), List.copyOf(file.names()));
            assertEquals(Map.of("format", "pt"), file.metadata());
            long start = path.toFile().length() - 6;
            assertEquals(new TensorInfo("z", DType.U8, Shape.of(2, 1), start + 4, start + 6), file.info("z"));
            assertEquals(new TensorInfo("a", DType.F32, Shape.of(), start, start + 4), file.info("a"));
            assertTrue(file.contains("z"));
            assertFalse(file.contains("y"));
        }
    }

    @Test
    void f32IsReadAtEveryAlignmentAndIsAReadOnlyView() {
        for (int shift = 0; shift < 8; shift++) {
            byte[] data = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN)
                    .putFloat(1.5f).putFloat(Float.MIN_VALUE).putFloat(Float.NEGATIVE_INFINITY).array();
            Path path = RawSafetensors.write(folder.resolve("f32-" + shift), "{\"t\":{\"dtype\":\"F32\",\"shape\":[3],"
                    + "\"data_offsets\":[0,12]}}" + " ".repeat(shift), data);
            Tensor tensor;
            try (SafetensorsFile file = SafetensorsFile.open(path)) {
                tensor = file.read("t");
            }
            assertArrayEquals(new float[] {1.5f, Float.MIN_VALUE, Float.NEGATIVE_INFINITY}, tensor.toArray());
            assertTrue(tensor.data().isReadOnly());
            assertEquals(Shape.of(3), tensor.shape());
        }
    }

    @Test
    void f16Bf16AndF64BecomeFloat32() {
        byte[] f16 = {0x00, 0x3c, 0x01, 0x00, 0x00, (byte) 0xfc};
        byte[] bf16 = {(byte) 0x80, 0x3f, 0x01, 0x00, 0x00, (byte) 0x80};
        byte[] f64 = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN)
                .putDouble(Math.PI).putDouble(1e300).putDouble(-1e-300).array();
        assertArrayEquals(new float[] {1, 0x1p-24f, Float.NEGATIVE_INFINITY}, only("F16", "[3]", f16).toArray());
        assertArrayEquals(new float[] {1, 0x1p-133f, -0f}, only("BF16", "[3]", bf16).toArray());
        assertArrayEquals(new float[] {(float) Math.PI, Float.POSITIVE_INFINITY, -0f},
                only("F64", "[3]", f64).toArray());
    }

    @Test
    void longTensorsAreConvertedWindowByWindow() {
        int count = 1000;
        ByteBuffer f32 = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < count; i++) {
            f32.putFloat(i);
        }
        Path path = RawSafetensors.one(folder.resolve("long"), "F32", "[10,100]", f32.array());
        for (long window : new long[] {4, 7, 64, 1 << 20}) {
            try (SafetensorsFile file = SafetensorsFile.open(path, 16, window)) {
                Tensor tensor = file.read("t");
                assertTrue(tensor.data().hasArray(), "above the limit of a view the numbers are copied");
                for (int i = 0; i < count; i++) {
                    assertEquals(i, tensor.data().get(i));
                }
            }
        }
    }

    @Test
    void tensorsBehindFourGigabytesAreRead() throws IOException {
        Path path = folder.resolve("huge.safetensors");
        long hole = 5L << 30;
        byte[] header = RawSafetensors.bytes("{\"hole\":{\"dtype\":\"U8\",\"shape\":[5,1073741824],"
                + "\"data_offsets\":[0," + hole + "]},\"f\":{\"dtype\":\"F32\",\"shape\":[2],"
                + "\"data_offsets\":[" + hole + "," + (hole + 8) + "]},\"i\":{\"dtype\":\"I64\",\"shape\":[1],"
                + "\"data_offsets\":[" + (hole + 8) + "," + (hole + 16) + "]}}");
        try (RandomAccessFile raw = new RandomAccessFile(path.toFile(), "rw")) {
            raw.setLength(header.length + hole + 16);
            raw.write(header);
            raw.seek(header.length + hole);
            raw.write(ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putFloat(-2).putFloat(7).putLong(1L << 40)
                    .array());
        }
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertArrayEquals(new float[] {-2, 7}, file.read("f").toArray());
            assertArrayEquals(new long[] {1L << 40}, file.readLongs("i"));
            assertEquals(hole, file.info("hole").bytes());
            assertSays(path, () -> file.readBytes("hole"), "\"hole\"", "5368709120 elements", "split");
        }
    }

    @Test
    void anEmptyFileOfTensorsIsFine() {
        try (SafetensorsFile file = SafetensorsFile.open(RawSafetensors.write(folder.resolve("e"), "{}"))) {
            assertTrue(file.names().isEmpty());
            assertSays(file.path(), () -> file.read("w"), "\"w\"", "it is empty");
        }
        try (SafetensorsFile file = SafetensorsFile.open(RawSafetensors.one(folder.resolve("z"), "F32", "[3,0]"))) {
            assertEquals(Tensor.zeros(3, 0).shape(), file.read("t").shape());
        }
    }

    @Test
    void aMissingFileAFolderAndAShortFileAreNamed() throws IOException {
        Path missing = folder.resolve("missing.safetensors");
        assertSays(missing, () -> SafetensorsFile.open(missing), "no such file");
        assertSays(folder, () -> SafetensorsFile.open(folder), "is a folder");
        Path tiny = Files.write(folder.resolve("tiny"), new byte[7]);
        assertSays(tiny, () -> SafetensorsFile.open(tiny), "7 bytes", "at least 8");
        Path through = tiny.resolve("x");
        assertSays(through, () -> SafetensorsFile.open(through), "cannot be read", "Not a directory");
    }

    @Test
    void anImpossibleHeaderLengthIsRefused() throws IOException {
        for (long length : new long[] {100_000_001, -1, Long.MIN_VALUE}) {
            Path path = Files.write(folder.resolve("h"), ByteBuffer.allocate(64)
                    .order(ByteOrder.LITTLE_ENDIAN).putLong(length).array());
            assertSays(path, () -> SafetensorsFile.open(path), Long.toUnsignedString(length), "at most 100000000");
        }
        Path path = Files.write(folder.resolve("h"), ByteBuffer.allocate(64)
                .order(ByteOrder.LITTLE_ENDIAN).putLong(57).array());
        assertSays(path, () -> SafetensorsFile.open(path), "57 bytes", "only 56 follow", "truncated");
    }

    @Test
    void aHeaderThatIsNotOneJsonObjectIsRefused() {
        refused("not valid JSON", "{\"a\":");
        refused("not valid JSON", "nonsense");
        refused("not valid JSON", "{} {}");
        refused("not valid JSON", "[".repeat(100_000));
        refused("not valid JSON", "{\"a\":" + "9".repeat(5000) + "}");
        refused("not a JSON object", "[]");
        refused("not a JSON object", "");
        refused("not a JSON object", "3");
        Path path = folder.resolve("latin");
        byte[] bytes = RawSafetensors.bytes("{\"a\":0}");
        bytes[10] = (byte) 0xe4;
        assertSays(path, () -> SafetensorsFile.open(Files.write(path, bytes)), "not UTF-8");
    }

    @Test
    void namesThatOccurTwiceAreRefused() {
        String entry = "\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
        refused("Duplicate", "{" + entry + "," + entry + "}");
        refused("Duplicate", "{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    }

    @Test
    void wrongMetadataIsRefused() {
        refused("__metadata__ must be a JSON object of texts, found array", "{\"__metadata__\":[]}");
        refused("entry \"k\" must be a text, found number", "{\"__metadata__\":{\"k\":1}}");
    }

    @Test
    void missingAndWrongFieldsAreRefusedWithTheTensorsName() {
        refused("\"t\": expected an object with dtype, shape and data_offsets, found number", "{\"t\":1}");
        refused("\"t\": dtype must be a text", "{\"t\":{\"shape\":[0],\"data_offsets\":[0,0]}}");
        refused("\"t\": dtype must be a text", entry("1", "[0]", "[0,0]"));
        refused("\"t\" has the unknown dtype \"F12\"", entry("\"F12\"", "[0]", "[0,0]"));
        refused("\"t\": shape must be an array of whole numbers, found nothing",
                "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}");
        refused("\"t\": shape must be an array of whole numbers, found string", entry("\"U8\"", "\"4\"", "[0,4]"));
        refused("\"t\": shape must hold whole numbers", entry("\"U8\"", "[1.0]", "[0,1]"));
        refused("\"t\": shape must hold whole numbers", entry("\"U8\"", "[\"1\"]", "[0,1]"));
        refused("\"t\": size -1 of axis 1", entry("\"U8\"", "[1,-1]", "[0,1]"));
        refused("\"t\": size 2147483648 of axis 0", entry("\"U8\"", "[2147483648]", "[0,1]"));
        refused("more elements than any file", entry("\"U8\"", "[2147483647,2147483647,2147483647]", "[0,1]"));
        refused("more elements than any file", entry("\"F64\"", "[2147483647,2147483647]", "[0,1]"));
        refused("\"t\": data_offsets must be an array", "{\"t\":{\"dtype\":\"U8\",\"shape\":[0]}}");
        refused("data_offsets must be two numbers [begin, end], found 3", entry("\"U8\"", "[0]", "[0,0,0]"));
        refused("\"t\": data_offsets must hold whole numbers", entry("\"U8\"", "[0]", "[0,9223372036854775808]"));
    }

    @Test
    void offsetsThatContradictShapeFileOrEachOtherAreRefused() {
        refused("data_offsets [4, 0] must satisfy", entry("\"U8\"", "[4]", "[4,0]"), 4);
        refused("data_offsets [-1, 3] must satisfy", entry("\"U8\"", "[4]", "[-1,3]"), 4);
        refused("shape [2] of F32 needs 8 bytes, data_offsets [0, 4] give 4", entry("\"F32\"", "[2]", "[0,4]"), 4);
        refused("\"t\" ends at byte 8 of the data, the file holds 7; it is truncated",
                entry("\"F32\"", "[2]", "[0,8]"), 7);
        refused("\"t\" ends at byte 9223372036854775807", entry("\"U8\"", "[1]",
                "[9223372036854775806,9223372036854775807]"), 1);
        refused("bytes 0 to 1 of the data belong to no tensor", entry("\"U8\"", "[1]", "[1,2]"), 2);
        refused("bytes 1 to 3 of the data belong to no tensor", entry("\"U8\"", "[1]", "[0,1]"), 3);
        refused("\"b\" begins at byte 1 of the data, overlapping \"a\" which ends at 2",
                "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
                        + "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3);
    }

    @Test
    void aMissingTensorComesWithTheNearestNames() {
        StringBuilder header = new StringBuilder("{");
        for (int block = 0; block < 12; block++) {
            for (String part : List.of("weight", "bias")) {
                header.append("\"blocks.").append(block).append(".attn.qkv.").append(part)
                        .append("\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},");
            }
        }
        header.setCharAt(header.length() - 1, '}');
        Path path = RawSafetensors.write(folder.resolve("names"), header.toString());
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            TensorFileException e = assertThrows(TensorFileException.class,
                    () -> file.info("module.blocks.3.attn.qkv.weight"));
            assertTrue(e.getMessage().contains("the nearest names are \"blocks.3.attn.qkv.weight\", "), e.getMessage());
            assertTrue(e.getMessage().contains("among its 24"), e.getMessage());
        }
    }

    @Test
    void askingForAnotherDtypeNamesTheRightMethod() {
        byte[] eight = new byte[8];
        Path i64 = RawSafetensors.one(folder.resolve("i64"), "I64", "[]", eight);
        try (SafetensorsFile file = SafetensorsFile.open(i64)) {
            assertSays(file.path(), () -> file.read("t"), "\"t\" is I64", "[F32, F16, BF16, F64]", "use readLongs");
            assertSays(file.path(), () -> file.readInts("t"), "\"t\" is I64", "[I32]", "use readLongs");
        }
        Path u16 = RawSafetensors.one(folder.resolve("u16"), "U16", "[4]", eight);
        try (SafetensorsFile file = SafetensorsFile.open(u16)) {
            assertSays(file.path(), () -> file.readBytes("t"), "\"t\" is U16", "convert it to F32");
            assertSays(file.path(), () -> file.readLongs("t"), "\"t\" is U16", "convert it to F32");
        }
    }

    @Test
    void aClosedFileSaysSo() {
        SafetensorsFile file = SafetensorsFile.open(RawSafetensors.one(folder.resolve("c"), "U8", "[1]", (byte) 1));
        file.close();
        file.close();
        assertSays(file.path(), () -> file.readBytes("t"), "is closed", "\"t\"");
    }

    private Tensor only(String dtype, String shape, byte... data) {
        Path path = RawSafetensors.one(folder.resolve(dtype), dtype, shape, data);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            return file.read("t");
        }
    }

    private static String entry(String dtype, String shape, String offsets) {
        return "{\"t\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
    }

    private void refused(String message, String header) {
        refused(message, header, 0);
    }

    private void refused(String message, String header, int dataBytes) {
        Path path = RawSafetensors.write(folder.resolve("wrong"), header, new byte[dataBytes]);
        assertSays(path, () -> SafetensorsFile.open(path), message);
    }

    private static void assertSays(Path path, Executable action, String... parts) {
        String message = assertThrows(TensorFileException.class, action).getMessage();
        assertTrue(message.startsWith(path.toString() + ": "), message);
        for (String part : parts) {
            assertTrue(message.contains(part), () -> "\"" + message + "\" should contain \"" + part + "\"");
        }
        assertFalse(message.contains("\n"), message);
    }
}
