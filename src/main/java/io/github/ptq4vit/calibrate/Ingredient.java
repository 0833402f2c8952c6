package io.github.ptq4vit.calibrate;

/** The parts of {@link BestConfig}; each can be left out. */
public enum Ingredient {
    /** Channels of LayerNorm outputs lose their mean; else they lose the LayerNorm's bias. */
    CENTRED_NORMS,
    /** Channels of LayerNorm outputs get scales that balance errors of inputs and weights. */
    BALANCED_NORMS,
    /** Blocks of channels of LayerNorm outputs are multiplied with a Hadamard matrix before they are quantised. */
    HADAMARD,
    /** Queries and keys, values and the projection's columns are balanced and rotated head by head. */
    ROTATED_HEADS,
    /** Keys and values lose their mean. */
    CENTRED,
    /** Centred inputs may have companded levels; else they have uniform ones. */
    COMPANDED,
    /** Softmax outputs may have logarithmic levels; else they have twins. */
    LOGARITHMIC_SOFTMAX,
    /** Rows of quantised softmax outputs are divided by their sum. */
    ROW_SUMS,
    /** GELU outputs may have logarithmic levels; else they have twins. */
    LOGARITHMIC_GELU,
    /** Channels of GELU outputs have factors. */
    CHANNEL_FACTORS,
    /** Class token and distillation token have ranges of their own. */
    PREFIX_RANGES,
    /** Weights may have companded levels; else they have uniform ones. */
    COMPANDED_WEIGHTS,
    /** Weights are rounded for the calibration images and their mirror images, which cost no search. */
    MIRRORED_IMAGES,
    /** Weights are rounded with error feedback, then by coordinate descent; else to the nearest code. */
    ERROR_FEEDBACK
}
