package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A Swin transformer: stages of blocks that attend within windows, between them the number of tokens is quartered and
 * their length doubled.
 *
 * @param name for people: {@code swin_tiny_patch4_window7_224}
 * @param imageSize side of the square input
 * @param patchSize side of a patch
 * @param channels of the input
 * @param dim length of a token in the first stage
 * @param depths number of blocks in each stage
 * @param heads of attention in each stage
 * @param window tokens along one side of a window; a stage whose grid is not larger is one window
 * @param mlpRatio length of a token inside the MLP as a multiple of its length outside
 * @param classes outputs of the classifier
 * @param epsilon of layer normalisation
 */
public record SwinConfig(String name, int imageSize, int patchSize, int channels, int dim, List<Integer> depths,
        List<Integer> heads, int window, int mlpRatio, int classes, float epsilon) implements Architecture {

    public SwinConfig {
        depths = List.copyOf(depths);
        heads = List.copyOf(heads);
        boolean fits = imageSize % patchSize == 0 && depths.size() == heads.size() && !depths.isEmpty() && mlpRatio > 0;
        for (int stage = 0; fits && stage < depths.size(); stage++) {
            int grid = imageSize / patchSize >> stage;
            boolean last = stage == depths.size() - 1;
            fits = depths.get(stage) > 0 && (dim << stage) % heads.get(stage) == 0 && grid > 0
                    && grid % Math.min(window, grid) == 0 && (last || grid % 2 == 0);
        }
        if (!fits) {
            throw new IllegalArgumentException("Not a Swin transformer: image " + imageSize + ", patch " + patchSize + ", dim "
                    + dim + ", depths " + depths + ", heads " + heads + ", window " + window + ", MLP ratio " + mlpRatio);
        }
    }

    @Override
    public List<UnitShape> units() {
        List<UnitShape> units = new ArrayList<>();
        for (int stage = 0; stage < depths.size(); stage++) {
            int stageGrid = grid() >> stage;
            int stageDim = dim << stage;
            int size = Math.min(window, stageGrid);
            for (int block = 0; block < depths.get(stage); block++) {
                int shift = block % 2 == 0 || stageGrid <= window ? 0 : window / 2;
                units.add(new BlockShape("layers." + stage + ".blocks." + block, stageGrid * stageGrid, stageDim, heads.get(stage),
                        mlpRatio * stageDim, Activation.GELU, Optional.of(new Windows(stageGrid, size, shift)), false));
            }
            if (stage < depths.size() - 1) {
                units.add(new MergingShape("layers." + stage + ".downsample", stageGrid, stageDim));
            }
        }
        return units;
    }

    @Override
    public List<Layer> headLayers() {
        return List.of(Layer.linear("head", LayerRole.HEAD, classes, features()));
    }

    @Override
    public Optional<NormedLayers> normedHead() {
        return Optional.of(new NormedLayers("norm", headLayers()));
    }

    @Override
    public SwinConfig withClasses(int other) {
        return new SwinConfig(name, imageSize, patchSize, channels, dim, depths, heads, window, mlpRatio, other, epsilon);
    }

    @Override
    public SwinConfig withImageSize(int side) {
        return new SwinConfig(name, side, patchSize, channels, dim, depths, heads, window, mlpRatio, classes, epsilon);
    }

    @Override
    public Map<String, Shape> outerTensors() {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        shapes.put("patch_embed.norm.weight", Shape.of(dim));
        shapes.put("patch_embed.norm.bias", Shape.of(dim));
        shapes.put("norm.weight", Shape.of(features()));
        shapes.put("norm.bias", Shape.of(features()));
        return shapes;
    }
}
