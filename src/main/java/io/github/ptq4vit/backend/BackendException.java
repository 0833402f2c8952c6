package io.github.ptq4vit.backend;

/** A device cannot be used, or an operation on it failed; the message says why and what to do. */
public final class BackendException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** With a message for the user. */
    public BackendException(String message) {
        super(message);
    }

    /** With a message for the user and what led to it. */
    public BackendException(String message, Throwable cause) {
        super(message, cause);
    }
}
