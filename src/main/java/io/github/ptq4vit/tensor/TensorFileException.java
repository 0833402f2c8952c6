package io.github.ptq4vit.tensor;

/** A tensor file cannot be read or written. The message names the file, what is wrong, and what to do about it. */
public final class TensorFileException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public TensorFileException(String message) {
        super(message);
    }

    public TensorFileException(String message, Throwable cause) {
        super(message, cause);
    }
}
