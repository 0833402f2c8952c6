package io.github.ptq4vit.artifact;

import io.github.ptq4vit.model.Architecture;
import io.github.ptq4vit.tensor.DType;
import io.github.ptq4vit.tensor.SafetensorsFile;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** A file of tensors of a checkpoint, whose types, shapes and numbers are checked as they are read. */
final class CheckedTensors implements AutoCloseable {
    private final SafetensorsFile file;
    private final Set<String> read = new HashSet<>();

    private CheckedTensors(SafetensorsFile file) {
        this.file = file;
    }

    static CheckedTensors open(Path path) {
        return new CheckedTensors(SafetensorsFile.open(path));
    }

    /** Finite float32 numbers. */
    Tensor floats(String name, Shape shape) {
        check(name, DType.F32, shape);
        Tensor tensor = file.read(name);
        FloatBuffer numbers = tensor.data();
        for (int i = 0; i < numbers.limit(); i++) {
            if (!Float.isFinite(numbers.get(i))) {
                throw wrong(name, "finite numbers", numbers.get(i) + " at index " + i);
            }
        }
        return tensor;
    }

    /** All tensors of these names and shapes; those that are optional may be missing. */
    Map<String, Tensor> floats(Map<String, Shape> shapes) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        shapes.forEach((name, shape) -> {
            if (file.contains(name) || !Architecture.isOptional(name)) {
                tensors.put(name, floats(name, shape));
            }
        });
        return tensors;
    }

    /** Signed bytes. */
    byte[] bytes(String name, Shape shape) {
        check(name, DType.I8, shape);
        return file.readBytes(name);
    }

    /** Free-form facts. */
    Map<String, String> metadata() {
        return file.metadata();
    }

    private void check(String name, DType type, Shape shape) {
        read.add(name);
        DType found = file.info(name).dtype();
        if (found != type) {
            throw wrong(name, "type " + type, found);
        }
        if (!file.info(name).shape().equals(shape)) {
            throw wrong(name, "shape " + shape, file.info(name).shape());
        }
    }

    /** Throws if the file holds tensors that were not read. */
    void done() {
        for (String name : file.names()) {
            if (!read.contains(name)) {
                throw wrong(name, "no such tensor", file.info(name).shape());
            }
        }
    }

    /** What to throw if a tensor is not what it should be. */
    ArtifactException wrong(String name, String expected, Object found) {
        return new ArtifactException(file.path() + ": is damaged: tensor " + name + ": expected is " + expected + ", found is " + found);
    }

    @Override
    public void close() {
        file.close();
    }
}
