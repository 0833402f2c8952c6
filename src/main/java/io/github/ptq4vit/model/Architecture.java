package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.NearNames;
import io.github.ptq4vit.tensor.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a network is made of: an embedding of patches, units (blocks, and between the stages of a Swin the merging of
 * tokens), and a head. Everything here follows from few numbers, the components of the implementing records.
 */
public sealed interface Architecture permits VitConfig, SwinConfig {
    /** Shown where a name is not known. */
    int NEAR_NAMES = 3;

    /** For people: {@code vit_tiny_patch16_224}. */
    String name();

    /** Side of the square input in pixels. */
    int imageSize();

    /** Side of a patch in pixels. */
    int patchSize();

    /** Channels of the input. */
    int channels();

    /** Length of a token after the embedding. */
    int dim();

    /** Outputs of a classifier. */
    int classes();

    /** Added to the variance by layer normalisation. */
    float epsilon();

    /** The units between embedding and head, in order. */
    List<UnitShape> units();

    /** The classifiers: one, or two whose mean is the prediction. */
    List<Layer> headLayers();

    /** Names and shapes of the tensors of embedding and head that belong to no quantised layer. */
    Map<String, Shape> outerTensors();

    /** Patches along one side. */
    default int grid() {
        return imageSize() / patchSize();
    }

    /** Numbers in an unfolded patch. */
    default int patchElements() {
        return channels() * patchSize() * patchSize();
    }

    /** The layer that makes tokens from patches. */
    default Layer embedding() {
        return new Layer(LayerRole.PATCH_EMBEDDING.suffix(), LayerRole.PATCH_EMBEDDING, Distribution.ANY,
                Optional.of(Shape.of(dim(), channels(), patchSize(), patchSize())));
    }

    /** Length of a token before the head. */
    default int features() {
        return units().get(units().size() - 1).output().sizes().size(1);
    }

    /** Length of what a classifier gets. */
    default int classifierInputs() {
        return headLayers().get(0).weight().orElseThrow().size(1);
    }

    /** The LayerNorm before the classifiers, if nothing comes between. */
    Optional<NormedLayers> normedHead();

    /** The LayerNorms before quantised layers. */
    default List<NormedLayers> normedLayers() {
        List<NormedLayers> layers = new ArrayList<>();
        units().forEach(unit -> layers.addAll(unit.normedLayers()));
        normedHead().ifPresent(layers::add);
        return layers;
    }

    /** All layers to quantise, in the order in which the network has them. */
    default List<Layer> layers() {
        List<Layer> layers = new ArrayList<>();
        layers.add(embedding());
        units().forEach(unit -> layers.addAll(unit.layers()));
        layers.addAll(headLayers());
        return layers;
    }

    /**
     * Layers by their name or a part of it between dots: {@code blocks.3.mlp.fc2}, {@code blocks.3}, {@code mlp.fc2} or {@code head}.
     *
     * @throws ModelException naming the nearest layers, if there are none of that name
     */
    default List<Layer> layersNamed(String name) {
        List<Layer> named = layers().stream().filter(layer -> ("." + layer.name() + ".").contains("." + name + ".")).toList();
        if (named.isEmpty()) {
            List<String> names = layers().stream().map(Layer::name).toList();
            throw new ModelException("No layer of " + name() + " is called " + name + "; the nearest names are "
                    + String.join(", ", NearNames.of(name, names, NEAR_NAMES)));
        }
        return named;
    }

    /** Names and shapes of all tensors that are not weights of quantised layers; some are {@link #isOptional}. */
    default Map<String, Shape> unquantizedTensors() {
        Map<String, Shape> shapes = new LinkedHashMap<>(outerTensors());
        units().forEach(unit -> shapes.putAll(unit.tensors()));
        for (Layer layer : layers()) {
            if (layer.role().hasBias()) {
                shapes.put(layer.name() + ".bias", Shape.of(layer.outputs()));
            }
        }
        return shapes;
    }

    /** Names and shapes of all tensors; some are {@link #isOptional}. */
    default Map<String, Shape> tensors() {
        Map<String, Shape> shapes = unquantizedTensors();
        layers().forEach(layer -> layer.weight().ifPresent(shape -> shapes.put(layer.name() + ".weight", shape)));
        return shapes;
    }

    /** Whether a model may lack a tensor: the bias of queries, keys and values. */
    static boolean isOptional(String tensor) {
        return tensor.endsWith(".attn.qkv.bias");
    }

    /** The same with classifiers of so many outputs. */
    Architecture withClasses(int classes);

    /**
     * The same for images of another size.
     *
     * @throws IllegalArgumentException if patches or windows do not fit it
     */
    Architecture withImageSize(int imageSize);

    /** Number of parameters. */
    default long parameters() {
        return tensors().values().stream().mapToLong(Shape::elements).sum();
    }
}
