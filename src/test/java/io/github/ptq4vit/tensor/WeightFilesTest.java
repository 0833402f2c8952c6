package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class WeightFilesTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "version https://git-lfs.github.com/spec/v1\\noid sha256:01\\nsize 22877424\\n | a Git LFS pointer, not the weights (22877424 bytes)",
        "<!DOCTYPE html>\\n<html><title>Access denied</title> | a web page",
        "\\n  <html><head> | a web page",
        "{\"error\": \"Invalid credentials\"} | JSON, not weights",
        "Entry not found, sorry | text, not weights; it begins with \"Entry not found, sorry\"",
        "'' | an empty file",
        "\\x89HDF\\r\\n\\x1a\\n | an HDF5 file",
        "GGUF\\x03\\x00\\x00\\x00\\x00\\x00 | a GGUF file",
        "\\x93NUMPY\\x01\\x00 | an array of NumPy",
        "\\x1f\\x8b\\x08\\x00\\x00\\x00\\x00\\x00 | a compressed file",
        "\\x08\\x08\\x12\\x07pytorch\\x1a\\x051.2.0 | an ONNX model"})
    void aFileThatHasNoWeightsIsNamedForWhatItIs(String content, String what) throws IOException {
        byte[] bytes = Pattern.compile("\\\\x(..)").matcher(content.replace("\\n", "\n").replace("\\r", "\r"))
                .replaceAll(code -> Matcher.quoteReplacement(String.valueOf((char) Integer.parseInt(code.group(1), 16))))
                .getBytes(StandardCharsets.ISO_8859_1);
        for (String name : new String[] {"model.safetensors", "weights.pth", "pytorch_model.bin"}) {
            Path file = Files.write(folder.resolve(name), bytes);
            String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(file)).getMessage();
            assertTrue(message.startsWith(file + ": is " + what), message);
        }
    }

    @Test
    void theContentAndNotTheNameTellsTheFormat() {
        Path torch = TorchWriter.write(folder.resolve("a.safetensors"), Map.of("w", Tensor.zeros(2)));
        Path safe = folder.resolve("b.pth");
        new SafetensorsWriter().add("w", Tensor.zeros(2)).write(safe);
        for (Path file : new Path[] {torch, safe}) {
            try (TensorSource source = WeightFiles.open(file)) {
                assertEquals(Shape.of(2), source.shape("w"));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vit.pth", "vit.pt", "vit.bin", "last.ckpt", "model_best.pth.tar", "vit.safetensors"})
    void theOnlyWeightsInAFolderAreTaken(String name) throws IOException {
        Path file = TorchWriter.write(folder.resolve(name), Map.of("w", Tensor.zeros(2)));
        Files.writeString(folder.resolve("config.json"), "{}");
        Files.writeString(folder.resolve("training_args.bin"), "x");
        Files.writeString(folder.resolve("optimizer.pt"), "x");
        assertEquals(file, WeightFiles.resolve(folder));
        Files.copy(file, folder.resolve("other.pth"));
        String message = assertThrows(TensorFileException.class, () -> WeightFiles.resolve(folder)).getMessage();
        assertTrue(message.contains(name) && message.contains("other.pth") && message.contains("say which"), message);
        Path usual = TorchWriter.write(folder.resolve("pytorch_model.bin"), Map.of("w", Tensor.zeros(2)));
        assertEquals(usual, WeightFiles.resolve(folder));
    }

    @Test
    void endingsAreNoPartOfAName() {
        assertEquals("model_best", WeightFiles.withoutEnding("model_best.pth.tar"));
        assertEquals("deit.v2", WeightFiles.withoutEnding("deit.v2.PTH"));
        assertEquals(".pth", WeightFiles.withoutEnding(".pth"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"../model.safetensors", "a/b.safetensors", "a\\\\b", "a\\u0000b", "", "\\u001b[2J", "x.index.json"})
    void anIndexNamesOnlyFilesBesideIt(String name) throws IOException {
        Path index = Files.writeString(folder.resolve("model.safetensors.index.json"), "{\"weight_map\": {\"w\": \"" + name + "\"}}");
        String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(index)).getMessage();
        assertTrue(message.startsWith(index.toString()) && message.chars().noneMatch(c -> c < ' '), message);
    }
}
