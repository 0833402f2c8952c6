package io.github.ptq4vit.image;

/** Images, their folder or their labels cannot be used. The message is one sentence for the user and names the file. */
public class ImageException extends RuntimeException {

    /** With a sentence that names the file and, where there is one, the way out. */
    public ImageException(String message) {
        super(message);
    }

    /** As above, with what went wrong underneath. */
    public ImageException(String message, Throwable cause) {
        super(message, cause);
    }
}
