package io.github.ptq4vit.model;

/**
 * The tokens before the patches, in this order.
 *
 * @param classToken whether there is a class token
 * @param distillationToken whether there is a distillation token
 * @param registers number of register tokens
 * @param positioned whether they have position embeddings
 */
public record PrefixTokens(boolean classToken, boolean distillationToken, int registers, boolean positioned) {

    /** How many they are. */
    public int count() {
        return (classToken ? 1 : 0) + (distillationToken ? 1 : 0) + registers;
    }
}
