package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A plain vision transformer (ViT, DeiT, DeiT III, with or without registers).
 *
 * @param name for people: {@code vit_tiny_patch16_224}
 * @param imageSize side of the square input
 * @param patchSize side of a patch
 * @param channels of the input
 * @param dim length of a token
 * @param depth number of blocks
 * @param heads of attention
 * @param hidden length of a token inside the MLP, after the activation
 * @param classes outputs of a classifier
 * @param prefix tokens before the patches
 * @param pooling what is classified
 * @param classifiers 1, or 2: one for the class token and one for the distillation token
 * @param layerScale whether what a block adds is multiplied by a learnt factor a channel
 * @param representation length of the vector between pooling and classifier ({@code pre_logits}), 0 for none
 * @param activation between the layers of the MLP
 * @param epsilon of layer normalisation
 */
public record VitConfig(String name, int imageSize, int patchSize, int channels, int dim, int depth, int heads, int hidden,
        int classes, PrefixTokens prefix, Pooling pooling, int classifiers, boolean layerScale, int representation,
        Activation activation, float epsilon) implements Architecture {

    public VitConfig {
        boolean heard = pooling != Pooling.CLASS_TOKEN ? classifiers == 1
                : prefix.classToken() && (classifiers == 1 || classifiers == 2 && prefix.distillationToken());
        if (imageSize % patchSize != 0 || dim % heads != 0 || depth < 1 || !heard || representation > 0 && classifiers > 1) {
            throw new IllegalArgumentException("Not a vision transformer: image " + imageSize + ", patch " + patchSize
                    + ", dim " + dim + ", heads " + heads + ", depth " + depth + ", " + prefix + ", " + classifiers
                    + " classifiers of " + pooling + ", representation " + representation);
        }
    }

    /** ViT, or DeiT with two tokens and two classifiers if distilled. */
    public VitConfig(String name, int imageSize, int patchSize, int channels, int dim, int depth, int heads, int hidden,
            int classes, boolean distilled, float epsilon) {
        this(name, imageSize, patchSize, channels, dim, depth, heads, hidden, classes,
                new PrefixTokens(true, distilled, 0, true), Pooling.CLASS_TOKEN, distilled ? 2 : 1, false, 0, epsilon);
    }

    /** With GELU. */
    public VitConfig(String name, int imageSize, int patchSize, int channels, int dim, int depth, int heads, int hidden,
            int classes, PrefixTokens prefix, Pooling pooling, int classifiers, boolean layerScale, int representation, float epsilon) {
        this(name, imageSize, patchSize, channels, dim, depth, heads, hidden, classes, prefix, pooling, classifiers, layerScale,
                representation, Activation.GELU, epsilon);
    }

    /** Length of the sequence. */
    public int tokens() {
        return prefix.count() + grid() * grid();
    }

    /** Position embeddings. */
    public int positions() {
        return (prefix.positioned() ? prefix.count() : 0) + grid() * grid();
    }

    /** Length of a query. */
    public int headDim() {
        return dim / heads;
    }

    @Override
    public List<UnitShape> units() {
        return IntStream.range(0, depth).<UnitShape>mapToObj(index -> new BlockShape("blocks." + index, tokens(), dim, heads,
                hidden, activation, Optional.empty(), layerScale)).toList();
    }

    @Override
    public List<Layer> headLayers() {
        int features = representation == 0 ? dim : representation;
        Layer head = Layer.linear("head", LayerRole.HEAD, classes, features);
        return classifiers == 1 ? List.of(head)
                : List.of(head, Layer.linear("head_dist", LayerRole.HEAD, classes, features));
    }

    @Override
    public Optional<NormedLayers> normedHead() {
        return representation == 0 ? Optional.of(new NormedLayers(pooling.norm(), headLayers())) : Optional.empty();
    }

    @Override
    public VitConfig withClasses(int other) {
        return new VitConfig(name, imageSize, patchSize, channels, dim, depth, heads, hidden, other, prefix, pooling, classifiers,
                layerScale, representation, activation, epsilon);
    }

    @Override
    public VitConfig withImageSize(int side) {
        return new VitConfig(name, side, patchSize, channels, dim, depth, heads, hidden, classes, prefix, pooling, classifiers,
                layerScale, representation, activation, epsilon);
    }

    @Override
    public Map<String, Shape> outerTensors() {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        if (prefix.classToken()) {
            shapes.put("cls_token", Shape.of(1, 1, dim));
        }
        if (prefix.distillationToken()) {
            shapes.put("dist_token", Shape.of(1, 1, dim));
        }
        if (prefix.registers() > 0) {
            shapes.put("reg_token", Shape.of(1, prefix.registers(), dim));
        }
        shapes.put("pos_embed", Shape.of(1, positions(), dim));
        shapes.put(pooling.norm() + ".weight", Shape.of(dim));
        shapes.put(pooling.norm() + ".bias", Shape.of(dim));
        if (representation > 0) {
            shapes.put("pre_logits.fc.weight", Shape.of(representation, dim));
            shapes.put("pre_logits.fc.bias", Shape.of(representation));
        }
        return shapes;
    }
}
