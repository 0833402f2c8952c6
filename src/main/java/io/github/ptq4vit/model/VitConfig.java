package io.github.ptq4vit.model;

import java.util.ArrayList;
import java.util.List;

/**
 * A plain vision transformer (ViT, DeiT).
 *
 * @param name for people: {@code vit_tiny_patch16_224}
 * @param imageSize side of the square input
 * @param patchSize side of a patch
 * @param channels of the input
 * @param dim length of a token
 * @param depth number of blocks
 * @param heads of attention
 * @param hidden length of a token inside the MLP
 * @param classes outputs of the classifier
 * @param distilled whether there is a distillation token and a second classifier; the prediction is their mean
 * @param epsilon of layer normalisation
 */
public record VitConfig(String name, int imageSize, int patchSize, int channels, int dim, int depth, int heads, int hidden,
        int classes, boolean distilled, float epsilon) {

    public VitConfig {
        if (imageSize % patchSize != 0 || dim % heads != 0 || depth < 1) {
            throw new IllegalArgumentException("Not a vision transformer: image " + imageSize + ", patch " + patchSize
                    + ", dim " + dim + ", heads " + heads + ", depth " + depth);
        }
    }

    /** Patches along one side. */
    public int grid() {
        return imageSize / patchSize;
    }

    /** Tokens that are not patches: the class token, and the distillation token if there is one. */
    public int prefixTokens() {
        return distilled ? 2 : 1;
    }

    /** Length of the sequence. */
    public int tokens() {
        return prefixTokens() + grid() * grid();
    }

    /** Length of a query. */
    public int headDim() {
        return dim / heads;
    }

    /** Numbers in an unfolded patch. */
    public int patchElements() {
        return channels * patchSize * patchSize;
    }

    /** A block's name: {@code blocks.3}. */
    public String block(int index) {
        return "blocks." + index;
    }

    /** The layers of a block in timm's order of modules. */
    public List<Layer> blockLayers(int index) {
        List<Layer> layers = new ArrayList<>();
        for (LayerRole role : List.of(LayerRole.QKV, LayerRole.PROJECTION, LayerRole.QUERY_KEY, LayerRole.PROBABILITY_VALUE,
                LayerRole.FC1, LayerRole.FC2)) {
            layers.add(new Layer(block(index) + "." + role.suffix(), role));
        }
        return layers;
    }

    /** The classifiers: one, or two if distilled. */
    public List<Layer> headLayers() {
        Layer head = new Layer("head", LayerRole.HEAD);
        return distilled ? List.of(head, new Layer("head_dist", LayerRole.HEAD)) : List.of(head);
    }

    /** All layers to quantise, in the order in which the network has them. */
    public List<Layer> layers() {
        List<Layer> layers = new ArrayList<>();
        layers.add(new Layer(LayerRole.PATCH_EMBEDDING.suffix(), LayerRole.PATCH_EMBEDDING));
        for (int block = 0; block < depth; block++) {
            layers.addAll(blockLayers(block));
        }
        layers.addAll(headLayers());
        return layers;
    }
}
