package io.github.ptq4vit.quant;

/** How a twin quantiser decides, and which pairs of scales it may have. */
public enum TwinRule {
    /** The paper's text and the public implementation's GELU: values are told apart by the threshold, GELU's negative scale is fixed. */
    FREE,
    /** As FREE, but GELU's two scales differ by a power of two, so that integer hardware can align them by a shift (paper, section 3.1). */
    ALIGNED,
    /** Whichever of the two grids has the point nearest to the value. */
    NEAREST
}
