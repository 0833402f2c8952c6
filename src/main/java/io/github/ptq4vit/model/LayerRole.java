package io.github.ptq4vit.model;

/** What a quantised layer does in the network. Names follow timm. */
public enum LayerRole {
    /** Patches to tokens: a convolution whose stride is its kernel. */
    PATCH_EMBEDDING("patch_embed.proj"),
    /** Queries, keys and values of all heads. */
    QKV("attn.qkv"),
    /** Queries times transposed keys. */
    QUERY_KEY("attn.matmul1"),
    /** Attention probabilities times values. */
    PROBABILITY_VALUE("attn.matmul2"),
    /** Projection of the attention's output. */
    PROJECTION("attn.proj"),
    /** First layer of the MLP, before its activation. */
    FC1("mlp.fc1"),
    /** Second layer of the MLP, after its activation. */
    FC2("mlp.fc2"),
    /** Four neighbouring tokens to one, between the stages of a Swin. */
    REDUCTION("reduction"),
    /** Classifier. */
    HEAD("head");

    private final String suffix;

    LayerRole(String suffix) {
        this.suffix = suffix;
    }

    /** The end of the layer's name: {@code attn.qkv}. */
    public String suffix() {
        return suffix;
    }

    /** Whether both operands are activations: a product of attention. */
    public boolean isMatmul() {
        return this == QUERY_KEY || this == PROBABILITY_VALUE;
    }

    /** Whether the layer has a bias; that of {@link #QKV} may be missing. */
    public boolean hasBias() {
        return !isMatmul() && this != REDUCTION;
    }
}
