package io.github.ptq4vit.backend;

/** Memory on a device, owned by the {@link Scope} that handed it out. Its contents start undefined. */
public interface Buffer {
    /** Type of the elements. */
    DataType type();

    /** Number of elements. */
    long elements();
}
