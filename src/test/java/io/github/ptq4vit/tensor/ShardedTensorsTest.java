package io.github.ptq4vit.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShardedTensorsTest {
    @TempDir
    Path folder;
    private Path index;

    @BeforeEach
    void makeShards() throws IOException {
        new SafetensorsWriter().add("a", Tensor.of(Shape.of(2), 1, 2)).write(folder.resolve("one.safetensors"));
        new SafetensorsWriter().add("b", Tensor.of(Shape.of(1), 3)).write(folder.resolve("two.safetensors"));
        index = folder.resolve("model.safetensors.index.json");
        index("{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}");
    }

    @Test
    void tensorsComeFromTheirShards() {
        try (TensorSource source = WeightFiles.open(folder)) {
            assertEquals(Set.of("a", "b"), source.names());
            assertArrayEquals(new float[] {1, 2}, source.read("a").toArray());
            assertEquals(Shape.of(1), source.shape("b"));
            assertEquals(3, source.files().size());
            assertTrue(assertThrows(TensorFileException.class, () -> source.read("c")).getMessage().contains("\"c\""));
        }
    }

    @Test
    void shardsMayBeFilesOfPyTorch() throws Exception {
        Files.copy(Path.of(getClass().getResource("/models/vit/timm.pth").toURI()), folder.resolve("pytorch_model-00001.bin"));
        Path bins = folder.resolve("pytorch_model.bin.index.json");
        Files.writeString(bins, "{\"weight_map\": {\"norm.bias\": \"pytorch_model-00001.bin\"}}");
        try (TensorSource source = WeightFiles.open(bins)) {
            assertEquals(Shape.of(16), source.read("norm.bias").shape());
        }
    }

    @Test
    void aMissingShardIsNamedWithWhatItHolds() throws IOException {
        Files.delete(folder.resolve("two.safetensors"));
        refused("two.safetensors", "1 tensors");
    }

    @Test
    void aTensorThatIsNotWhereTheIndexSaysIsNamed() throws IOException {
        index("{\"weight_map\": {\"a\": \"one.safetensors\", \"c\": \"two.safetensors\"}}");
        refused("two.safetensors", "no tensor c");
    }

    @ParameterizedTest
    @ValueSource(strings = {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "model.safetensors.index.json"})
    void filesElsewhereAreNotOpened(String name) throws IOException {
        index("{\"weight_map\": {\"a\": \"" + name + "\"}}");
        refused("beside the index");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "[]", "{\"weight_map\": 3}", "{\"weight_map\": {}}", "{\"weight_map\": {\"a\": 3}}"})
    void aDamagedIndexIsNamed(String text) throws IOException {
        index(text);
        refused("index.json");
    }

    private void index(String text) throws IOException {
        Files.writeString(index, text);
    }

    private void refused(String... parts) {
        String message = assertThrows(TensorFileException.class, () -> WeightFiles.open(index)).getMessage();
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
    }
}
