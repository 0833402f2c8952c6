package io.github.ptq4vit.model;

/** A file does not hold a model that can be used; the message says what is wrong and what would be right. */
public final class ModelException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** With a message for the user. */
    public ModelException(String message) {
        super(message);
    }

    /** With a message for the user and what led to it. */
    public ModelException(String message, Throwable cause) {
        super(message, cause);
    }
}
