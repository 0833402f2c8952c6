package io.github.ptq4vit.export;

/** A model cannot be exported as asked, or not written; the message says why and what to do. */
public final class ExportException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** With a message for the user. */
    public ExportException(String message) {
        super(message);
    }

    /** With a message for the user and what led to it. */
    public ExportException(String message, Throwable cause) {
        super(message, cause);
    }
}
