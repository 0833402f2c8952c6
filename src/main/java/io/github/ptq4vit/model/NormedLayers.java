package io.github.ptq4vit.model;

import java.util.List;

/**
 * Layers that take the output of a LayerNorm and of nothing else.
 *
 * @param norm name of the LayerNorm; its tensors are {@code norm + ".weight"} and {@code norm + ".bias"}
 * @param layers one, or several classifiers
 */
public record NormedLayers(String norm, List<Layer> layers) {
}
