package io.github.ptq4vit.tensor;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What a file is by its content, whatever its name says. */
enum FileKind {
    SAFETENSORS, TORCH;

    private static final int LOOKED_AT = 1024;
    private static final int TAR_MAGIC = 257;
    private static final int SHOWN = 40;
    private static final Pattern LFS_SIZE = Pattern.compile("(?m)^size (\\d{1,18})$");

    /**
     * The kind of a file.
     *
     * @throws TensorFileException if it is neither; says what it is instead
     */
    static FileKind of(Path file) {
        byte[] start = start(file);
        if (starts(start, "PK\3\4") || start.length >= 2 && start[0] == (byte) 0x80 && start[1] >= 1 && start[1] <= 5) {
            return TORCH;
        }
        if (isSafetensors(start)) {
            return SAFETENSORS;
        }
        String what = what(start);
        if (!what.isEmpty()) {
            throw new TensorFileException(file + ": is " + what);
        }
        if (file.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".safetensors")) {
            // damaged: its reader says how
            return SAFETENSORS;
        }
        throw new TensorFileException(file + ": is no file of weights (its first bytes are " + hex(start)
                + "); expected are safetensors, or what torch.save writes; is it completely downloaded?");
    }

    private static byte[] start(Path file) {
        if (Files.isDirectory(file)) {
            throw new TensorFileException(file + ": is a folder; give the path of the file of weights inside it");
        }
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new TensorFileException(file + ": is no regular file; give the path of a file of weights");
        }
        try (InputStream stream = Files.newInputStream(file)) {
            return stream.readNBytes(LOOKED_AT);
        } catch (NoSuchFileException e) {
            throw new TensorFileException(file + ": no such file; check the path", e);
        } catch (IOException e) {
            throw new TensorFileException(file + ": cannot be read (" + SafetensorsFile.reason(e)
                    + "); check the file and its rights", e);
        }
    }

    /** Eight bytes of length, then JSON. */
    private static boolean isSafetensors(byte[] start) {
        return start.length > Long.BYTES && start[Long.BYTES] == '{'
                && ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).getLong() >>> 32 == 0;
    }

    private static String what(byte[] start) {
        String text = new String(start, StandardCharsets.ISO_8859_1);
        String plain = text.stripLeading().toLowerCase(Locale.ROOT);
        if (start.length == 0) {
            return "an empty file; download it again";
        }
        if (text.startsWith("version https://git-lfs.github.com/") || text.startsWith("version https://hawser.github.com/")) {
            Matcher size = LFS_SIZE.matcher(text);
            return "a Git LFS pointer, not the weights" + (size.find() ? " (" + size.group(1) + " bytes)" : "")
                    + ": get them with git lfs pull, or download the file itself";
        }
        if (plain.startsWith("<!doctype") || plain.startsWith("<html") || plain.startsWith("<?xml") || plain.startsWith("<head")) {
            return "a web page, not the weights; log in or accept the terms where it comes from, and download the file itself";
        }
        if (starts(start, "\u0089HDF")) {
            return "an HDF5 file (Keras, TensorFlow), which is not read; expected are weights of PyTorch, or safetensors";
        }
        if (starts(start, "GGUF")) {
            return "a GGUF file, which is not read; expected are weights of PyTorch, or safetensors";
        }
        if (starts(start, "\u0093NUMPY")) {
            return "an array of NumPy, which is not read; expected are weights of PyTorch, or safetensors";
        }
        if (starts(start, "\u001f\u008b") || starts(start, "BZh") || starts(start, "\u00fd7zXZ") || starts(start, "7z\u00bc\u00af")
                || starts(start, "(\u00b5/\u00fd")) {
            return "a compressed file; unpack it first";
        }
        if (text.length() > TAR_MAGIC + 5 && text.startsWith("ustar", TAR_MAGIC)) {
            return "a tar archive; unpack it first";
        }
        if (starts(start, "PK")) {
            return "an empty or damaged zip archive; download it again";
        }
        if (starts(start, "\u007fELF")) {
            return "a program, not weights";
        }
        if (text.contains("onnx") || text.contains("pytorch") && start[0] == 0x08) {
            return "an ONNX model, which is not read; expected are the weights that it was exported from";
        }
        if (plain.startsWith("{") || plain.startsWith("[")) {
            return "JSON, not weights; it begins with " + shown(text);
        }
        boolean readable = text.chars().allMatch(c -> c >= ' ' && c != 0x7f || c == '\n' || c == '\r' || c == '\t');
        return readable && text.length() > Long.BYTES ? "text, not weights; it begins with " + shown(text) : "";
    }

    private static String shown(String text) {
        String line = text.strip().lines().findFirst().orElse("");
        return '"' + Printable.of(line.length() > SHOWN ? line.substring(0, SHOWN) + "..." : line) + '"';
    }

    private static String hex(byte[] start) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < Math.min(Long.BYTES, start.length); i++) {
            text.append(i == 0 ? "" : " ").append(String.format("%02x", start[i]));
        }
        return text.toString();
    }

    private static boolean starts(byte[] start, String with) {
        for (int i = 0; i < with.length(); i++) {
            if (i >= start.length || (start[i] & 0xff) != with.charAt(i)) {
                return false;
            }
        }
        return true;
    }
}
