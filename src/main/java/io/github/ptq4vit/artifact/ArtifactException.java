package io.github.ptq4vit.artifact;

/** A quantised checkpoint cannot be read, written or continued. The message is one sentence that names the folder. */
public final class ArtifactException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** With a message for the user. */
    public ArtifactException(String message) {
        super(message);
    }

    /** With a message for the user and what led to it. */
    public ArtifactException(String message, Throwable cause) {
        super(message, cause);
    }
}
