package io.github.ptq4vit.model;

/** What the head classifies. */
public enum Pooling {
    /** The class token, normalised; a second classifier takes the distillation token. */
    CLASS_TOKEN("norm"),
    /** The mean of all normalised patches: Swin, and ViT without class token. */
    NORM_THEN_MEAN("norm"),
    /** The normalised mean of all patches: ViT with {@code fc_norm}. */
    MEAN_THEN_NORM("fc_norm");

    private final String norm;

    Pooling(String norm) {
        this.norm = norm;
    }

    /** timm's name of the normalisation. */
    public String norm() {
        return norm;
    }
}
