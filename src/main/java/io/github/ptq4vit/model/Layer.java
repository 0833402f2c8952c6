package io.github.ptq4vit.model;

/**
 * A layer to quantise.
 *
 * @param name timm's name: {@code blocks.0.attn.qkv}; weights are {@code name + ".weight"}
 * @param role what it does
 */
public record Layer(String name, LayerRole role) {
}
