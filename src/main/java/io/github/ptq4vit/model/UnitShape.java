package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.List;
import java.util.Map;

/** A part of a network between embedding and head that is calibrated as a whole: tokens in, tokens out. */
public sealed interface UnitShape permits BlockShape, MergingShape {

    /** timm's name: {@code blocks.3}. */
    String name();

    /** Length of the sequence that goes in. */
    int inputTokens();

    /** Length of a token that goes in. */
    int inputDim();

    /** Length of the sequence that comes out. */
    int outputTokens();

    /** Length of a token that comes out. */
    int outputDim();

    /** The layers to quantise, in timm's order of modules. */
    List<Layer> layers();

    /** The LayerNorms before quantised layers. */
    List<NormedLayers> normedLayers();

    /** Names and shapes of the tensors that belong to no quantised layer. */
    Map<String, Shape> tensors();
}
