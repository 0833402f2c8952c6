package io.github.ptq4vit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.ptq4vit.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** What a test of commands needs: a tiny model, labelled images, and the name of a folder for what is made. */
abstract class TinyInput {
    @TempDir
    Path folder;
    Path model;
    Path images;
    Path labels;
    Path out;
    private final int count;

    /** @param count of images */
    TinyInput(int count) {
        this.count = count;
    }

    @BeforeEach
    void makeInput() throws IOException {
        model = TinyModel.write(folder.resolve("tiny.safetensors"), TinyModel.tensors(1));
        images = TinyModel.images(folder.resolve("images"), count);
        labels = TinyModel.labels(folder.resolve("labels.txt"), count);
        out = folder.resolve("out");
    }

    /** Fails if a file was left half-written. */
    void assertNothingTemporary() throws IOException {
        try (Stream<Path> all = Files.walk(folder)) {
            assertEquals(List.of(), all.filter(path -> path.toString().endsWith(".tmp")).toList());
        }
    }
}
