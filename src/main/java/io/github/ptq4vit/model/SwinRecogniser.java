package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.RenamedTensors;
import io.github.ptq4vit.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Recognises Swin transformers from their tensors. */
final class SwinRecogniser extends Recogniser {
    private static final float EPSILON = 1e-5f;

    SwinRecogniser(RenamedTensors file, ModelFacts facts) {
        super(file, facts);
    }

    static boolean looksLikeSwin(RenamedTensors file) {
        return file.contains("layers.0.blocks.0.attn.qkv.weight");
    }

    @Override
    SwinConfig config(ReadOptions options) {
        Shape patch = shape("patch_embed.proj.weight", 4);
        int dim = patch.size(0);
        List<Integer> depths = new ArrayList<>();
        List<Integer> heads = new ArrayList<>();
        while (file.contains("layers." + depths.size() + ".blocks.0.attn.qkv.weight")) {
            String stage = "layers." + depths.size() + ".blocks.";
            heads.add(shape(stage + "0.attn.relative_position_bias_table", 2).size(1));
            depths.add(count(stage, ".attn.qkv.weight"));
        }
        int side = patch.size(2);
        // the first stage is never smaller than a window
        int window = window(0);
        int hidden = shape("layers.0.blocks.0.mlp.fc1.weight", 2).size(0);
        int size = imageSize(options, window, side, depths.size());
        String name = String.format(Locale.ROOT, "swin_%s_patch%d_window%d_%d", size(dim, depths), side, window, size);
        try {
            return new SwinConfig(name, size, side, patch.size(1), dim, depths, heads, window, Math.max(1, hidden / dim),
                    shape("head.weight", 2).size(0), facts.epsilon().orElse(EPSILON));
        } catch (IllegalArgumentException e) {
            throw new ModelException(file.path() + ": its windows of " + window + " x " + window + " patches of " + side
                    + " pixels do not fit images of " + size + " pixels through " + depths.size()
                    + " stages; say another size with --image-size", e);
        }
    }

    private int window(int stage) {
        String table = "layers." + stage + ".blocks.0.attn.relative_position_bias_table";
        int positions = file.shape(table).size(0);
        int side = (int) Math.round(Math.sqrt(positions));
        if (side * side != positions || side % 2 == 0) {
            throw new ModelException(file.path() + ": tensor " + file.original(table) + " has shape " + file.shape(table) + "; " + positions
                    + " relative positions do not belong to a square window");
        }
        return (side + 1) / 2;
    }

    /** As asked, as stated, as the mask of the first shifted block tells, else as usual. */
    private int imageSize(ReadOptions options, int window, int patch, int stages) {
        if (options.imageSize().isPresent()) {
            return options.imageSize().getAsInt();
        }
        if (facts.imageSize().isPresent()) {
            return facts.imageSize().getAsInt();
        }
        String mask = "layers.0.blocks.1.attn_mask";
        if (file.contains(mask)) {
            return (int) Math.round(Math.sqrt(file.shape(mask).size(0))) * window * patch;
        }
        return patch * window << stages - 1;
    }

    private static String size(int dim, List<Integer> depths) {
        boolean deep = depths.size() == 4 && depths.get(2) == 18;
        return dim == 96 ? deep ? "small" : "tiny" : dim == 128 ? "base" : dim == 192 ? "large" : "dim" + dim;
    }
}
