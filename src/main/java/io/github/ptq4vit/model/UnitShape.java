package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.List;
import java.util.Map;

/** A part of a network between embedding and head that is calibrated as a whole: tokens in, tokens out. */
public sealed interface UnitShape permits BlockShape, MergingShape {

    /** timm's name: {@code blocks.3}. */
    String name();

    /** What goes in, {@code [tokens, length]}. */
    Value input();

    /** What comes out, {@code [tokens, length]}. */
    Value output();

    /** Its computation from the input to the output, in order: all that there is to say of it. */
    List<Stage> stages();

    /** The layers to quantise, in timm's order of modules. */
    List<Layer> layers();

    /** The LayerNorms before quantised layers. */
    List<NormedLayers> normedLayers();

    /** Names and shapes of the tensors that belong to no quantised layer. */
    Map<String, Shape> tensors();

    /** The layer of a role. */
    default Layer layer(LayerRole role) {
        return layers().stream().filter(layer -> layer.role() == role).findFirst().orElseThrow();
    }
}
