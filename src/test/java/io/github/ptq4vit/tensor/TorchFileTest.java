package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Random;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TorchFileTest {
    /** An empty ordered dictionary with one tensor {@code w} of 2 x 3 float32 in storage 0 is put into it. */
    private static final String TENSOR = "\u0080\u0002ccollections\nOrderedDict\n)R(X\u0001\0\0\0wctorch._utils\n_rebuild_tensor_v2\n"
            + "((X\u0007\0\0\0storagectorch\nFloatStorage\nX\u0001\0\0\0" + "0X\u0003\0\0\0cpuK\u0006tQ%sK\u0002K\u0003\u0086%s\u0089"
            + "ccollections\nOrderedDict\n)RtRu.";

    @TempDir
    Path folder;

    private static Path models() {
        try {
            return Path.of(TorchFileTest.class.getResource("/models").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void bothLayoutsHoldTheSame() {
        try (TensorSource zip = WeightFiles.open(models().resolve("vit/timm.pth"));
                TensorSource legacy = WeightFiles.open(models().resolve("vit/legacy.pth"));
                TensorSource safe = WeightFiles.open(models().resolve("vit/timm.safetensors"))) {
            assertEquals(safe.names(), zip.names());
            assertEquals(safe.names(), legacy.names());
            for (String name : safe.names()) {
                assertEquals(safe.shape(name), zip.shape(name));
                assertArrayEquals(safe.read(name).toArray(), zip.read(name).toArray(), name);
                assertArrayEquals(safe.read(name).toArray(), legacy.read(name).toArray(), name);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"0, 3, 1, 1 2 3 4 5 6", "0, 1, 2, 1 3 5 2 4 6", "2, 1, 1, 3 4 5 4 5 6"})
    void stridesAreFollowed(int offset, int rows, int columns, String expected) throws IOException {
        try (TensorSource file = WeightFiles.open(zip(tensor(offset, rows, columns)))) {
            assertEquals(Shape.of(2, 3), file.shape("w"));
            float[] numbers = new float[6];
            for (int i = 0; i < 6; i++) {
                numbers[i] = Float.parseFloat(expected.split(" ")[i]);
            }
            assertArrayEquals(numbers, file.read("w").toArray());
        }
    }

    @ParameterizedTest
    @CsvSource({"1, 3, 1", "0, 4, 1", "-1, 3, 1", "5, -2, -1", "6, 0, 0", "0, 2000000000, 2000000000"})
    void aWindowThatLeavesItsStorageIsRefused(int offset, int rows, int columns) throws IOException {
        try (TensorSource file = WeightFiles.open(zip(tensor(offset, rows, columns)))) {
            assertTrue(assertThrows(TensorFileException.class, () -> file.read("w")).getMessage().contains("tensor w"));
        }
    }

    @Test
    void whatIsNoTensorIsPassedOver() {
        try (TensorSource file = WeightFiles.open(models().resolve("vit/namespace.pth"));
                TensorSource plain = WeightFiles.open(models().resolve("vit/timm.pth"))) {
            assertTrue(file.names().stream().anyMatch(name -> name.endsWith("cls_token")), file.names().toString());
            assertTrue(plain.names().stream().allMatch(name -> file.names().stream().anyMatch(own -> own.endsWith(name))));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cposix\nsystem\n(S'touch evil'\ntR.", "\u0080\u0004\u008c\u0005posix\u008c\u0006system\u0093\u008c\u0001x\u0085R.",
        "(S'x'\niposix\nsystem\n.", "(cposix\nsystem\nS'x'\no.", "\u0080\u0002cposix\nsystem\n)\u0081.", "cbuiltins\neval\n(S'1'\ntR.",
        "cdatetime\ndatetime\n.", "coperator\nattrgetter\n.", "ccopy_reg\n_reconstructor\n.", "\u0080\u0002\u0082\u0001.",
        "ctorch\nload\n(S'x'\ntR.", "ccollections\nOrderedDict\n}b."})
    void nothingThatAPickleAsksForIsExecuted(String pickle) throws IOException {
        Path file = zip(pickle);
        String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage();
        assertTrue(message.startsWith(file.toString()), message);
        assertTrue(message.contains("holds no tensors") || message.contains("pickle"), message);
        assertFalse(Files.exists(Path.of("evil")));
    }

    @ParameterizedTest
    @CsvSource({"2000000000, 2000000000", "-2, 3", "3037000500, 3037000500"})
    void sizesThatNoFileCanHoldAreRefused(long rows, long columns) throws IOException {
        Path file = zip(TENSOR.replaceFirst("K\\u0002K\\u0003", "L" + rows + "L\nL" + columns + "L\n").formatted("I0\n", "K\1K\1\u0086"));
        String message = assertThrows(TensorFileException.class, () -> readAll(file)).getMessage();
        assertTrue(message.startsWith(file.toString()), message);
    }

    @Test
    void anEmptyTensorIsReadWhereverItIs() throws IOException {
        try (TensorSource file = WeightFiles.open(zip(TENSOR.replaceFirst("K\\u0002K\\u0003", "K\0K\3").formatted("I6\n", "K\3K\1\u0086")))) {
            assertEquals(0, file.read("w").toArray().length);
        }
    }

    @Test
    void pickleBombsEndSoonAndSmall() throws IOException {
        StringBuilder laughs = new StringBuilder("]q\0");
        for (int i = 0; i < 60; i++) {
            laughs.append("](h").append((char) i).append('h').append((char) i).append("eq").append((char) (i + 1));
        }
        for (String pickle : new String[] {"\u0080\2}" + laughs + "K\1s.", "\u0080\2" + laughs + "0(h<h<tQ.", "\u0080\2}]q\0h\0aK\1s.",
            "\u0080\2}" + "]".repeat(200_000) + "a".repeat(199_999) + "K\1s.", "\u0080\2}q\0(X\1\0\0\0ah\0u.", "]".repeat(2_200_000) + ".",
            "N" + "\u0094".repeat(2_200_000) + ".", "L" + "9".repeat(1_000_000) + "L\n.", "I" + "9".repeat(1_000_000) + "\n.",
            "F" + "9".repeat(1_000_000) + "\n.", "\u0080\2(" + "]".repeat(1000) + "tq\0" + "ccollections\nOrderedDict\nh\0\u0085R".repeat(100_000) + "."}) {
            Path file = zip(pickle);
            String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage();
            assertTrue(message.startsWith(file.toString()) && message.length() < file.toString().length() + 400, message);
        }
    }

    @Test
    void anArchiveThatUnpacksToFarMoreThanItsSizeIsRefused() throws IOException {
        Path file = folder.resolve("bomb.pth");
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
            zip.putNextEntry(new ZipEntry("model/data.pkl"));
            byte[] zeros = new byte[1 << 20];
            for (int i = 0; i < 80; i++) {
                zip.write(zeros);
            }
        }
        assertTrue(assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage().contains("compressed"));
    }

    @Test
    void namesInMessagesCannotActOnATerminal() throws IOException {
        Path file = zip("\u0080\2}(X\4\0\0\0\u001b[2JK\1u.");
        String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage();
        assertTrue(message.contains("\\u001b[2J") && message.indexOf('\u001b') < 0, message);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", ".", "N.", "K\u0001.", "}.", "X\u00ff\u00ff\u00ff\u007f", "\u0080\u0004\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007fx",
        "\u0080\u0009.", "R.", "s.", "\u00f0", "}K\u0001Q.", "ccollections\nOrderedDict\nK\u0001R.", "ccollections"})
    void aDamagedPickleIsNamed(String pickle) throws IOException {
        Path file = zip(pickle);
        String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage();
        assertTrue(message.startsWith(file.toString()), message);
    }

    @Test
    void aTruncatedFileIsNamed() throws IOException {
        for (String name : new String[] {"vit/timm.pth", "vit/legacy.pth"}) {
            byte[] whole = Files.readAllBytes(models().resolve(name));
            Path file = folder.resolve("cut.pth");
            for (int length : new int[] {2, 3, 20, 300, whole.length / 3, whole.length - 1000, whole.length - 1}) {
                Files.write(file, Arrays.copyOf(whole, length));
                assertTrue(assertThrows(TensorFileException.class, () -> readAll(file)).getMessage().startsWith(file.toString()));
            }
        }
    }

    @Test
    void whateverIsChangedTheFileIsReadOrRefused() throws IOException {
        Random random = new Random(1);
        Path file = folder.resolve("changed.pth");
        for (String name : new String[] {"vit/timm.pth", "vit/legacy.pth"}) {
            byte[] whole = Files.readAllBytes(models().resolve(name));
            for (int i = 0; i < 400; i++) {
                byte[] changed = whole.clone();
                for (int j = 0; j < 3; j++) {
                    // most of the pickle is in the first bytes
                    changed[random.nextInt(random.nextBoolean() ? 4000 : changed.length)] = (byte) random.nextInt();
                }
                Files.write(file, changed);
                try {
                    readAll(file);
                } catch (TensorFileException e) {
                    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
                }
            }
        }
    }

    @Test
    void otherArchivesAreNamed() throws IOException {
        Path file = folder.resolve("other.pth");
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
            zip.putNextEntry(new ZipEntry("word/document.xml"));
        }
        assertTrue(assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage().contains("data.pkl"));
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
            zip.putNextEntry(new ZipEntry("model/data.pkl"));
            zip.putNextEntry(new ZipEntry("model/constants.pkl"));
        }
        assertTrue(assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage().contains("TorchScript"));
    }

    private static String tensor(int offset, int rows, int columns) {
        return String.format(Locale.ROOT, TENSOR, "I" + offset + "\n", "I" + rows + "\nI" + columns + "\n\u0086");
    }

    private static void readAll(Path file) {
        try (TensorSource source = WeightFiles.open(file)) {
            source.names().forEach(source::read);
        }
    }

    /** An archive as PyTorch writes it, with the numbers 1 to 6 as storage 0. */
    private Path zip(String pickle) throws IOException {
        Path file = folder.resolve("model.pth");
        ByteBuffer numbers = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 1; i <= 6; i++) {
            numbers.putFloat(i);
        }
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
            zip.putNextEntry(new ZipEntry("model/data.pkl"));
            zip.write(pickle.getBytes(StandardCharsets.ISO_8859_1));
            zip.putNextEntry(new ZipEntry("model/data/0"));
            zip.write(numbers.array());
        }
        return file;
    }
}
