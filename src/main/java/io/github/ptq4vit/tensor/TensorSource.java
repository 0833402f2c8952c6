package io.github.ptq4vit.tensor;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Named float arrays from one file or several. */
public interface TensorSource extends AutoCloseable {

    /** Where they are: the file, or the index of several. */
    Path path();

    /** All files that hold tensors. */
    default List<Path> files() {
        return List.of(path());
    }

    /** The names of all tensors. */
    Set<String> names();

    /** Whether there is a tensor of this name. */
    default boolean contains(String name) {
        return names().contains(name);
    }

    /**
     * Shape of a tensor.
     *
     * @throws TensorFileException when there is none of this name
     */
    Shape shape(String name);

    /**
     * A floating point tensor as float32.
     *
     * @throws TensorFileException when there is none of this name, or it is of another type
     */
    Tensor read(String name);

    /** Free-form facts that the file states. */
    Map<String, String> metadata();

    /** Closes what is open; tensors already read stay valid. May be called again. */
    @Override
    void close();
}
