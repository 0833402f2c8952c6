package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.RenamedTensors;
import io.github.ptq4vit.tensor.Shape;
import java.util.Locale;
import java.util.OptionalInt;

/** Recognises ViT, DeiT and DINOv2 from their tensors. */
final class VitRecogniser extends Recogniser {
    private static final float EPSILON = 1e-6f;
    /** The default of Hugging Face's configuration. */
    private static final float HUGGING_FACE_EPSILON = 1e-12f;
    private static final int USUAL_HEAD_DIM = 64;

    VitRecogniser(RenamedTensors file, ModelFacts facts) {
        super(file, facts);
    }

    @Override
    VitConfig config(ReadOptions options) {
        Shape patch = shape("patch_embed.proj.weight", 4);
        int dim = patch.size(0);
        int side = patch.size(2);
        int positions = shape("pos_embed", 3).size(1);
        int registers = file.contains("reg_token") ? shape("reg_token", 3).size(1) : 0;
        PrefixTokens prefix = prefix(positions, registers);
        int patches = positions - (prefix.positioned() ? prefix.count() : 0);
        int grid = root(patches);
        if (grid * grid != patches || patches == 0) {
            throw new ModelException(file.path() + ": " + file.original("pos_embed") + " has shape " + file.shape("pos_embed") + "; " + patches
                    + " patches are not a square grid");
        }
        int stated = facts.imageSize().orElse(grid * side);
        if (stated != grid * side && options.imageSize().isEmpty()) {
            throw new ModelException(file.path() + ": is said to take images of " + stated + " pixels, but its "
                    + file.original("pos_embed") + " of shape " + file.shape("pos_embed") + " is for " + grid * side + "; choose with --image-size");
        }
        boolean twoHeads = file.contains("head_dist.weight");
        String name = String.format(Locale.ROOT, "%s_%s_patch%d_%d", prefix.distillationToken() ? "deit" : "vit", size(dim), side,
                grid * side);
        int representation = file.contains("pre_logits.fc.weight") ? shape("pre_logits.fc.weight", 2).size(0) : 0;
        Pooling pooling = pooling(prefix);
        int hidden = shape("blocks.0.mlp.fc2.weight", 2).size(1);
        // whose first layer makes twice what the second takes has a gate
        Activation activation = shape("blocks.0.mlp.fc1.weight", 2).size(0) == 2 * hidden ? Activation.SWIGLU : Activation.GELU;
        if (twoHeads && (!prefix.distillationToken() || pooling != Pooling.CLASS_TOKEN || representation > 0)) {
            throw new ModelException(file.path() + ": has a second classifier, " + file.original("head_dist.weight")
                    + ", but not what belongs to it: a class token, a distillation token, a last normalisation, and no layer"
                    + " between pooling and classifier");
        }
        return new VitConfig(name, grid * side, side, patch.size(1), dim, count("blocks.", ".attn.qkv.weight"),
                heads(dim, options.heads()), hidden, shape("head.weight", 2).size(0), prefix, pooling, twoHeads ? 2 : 1,
                file.contains("blocks.0.ls1.gamma"), representation, activation, facts.epsilon().orElse(
                        ModelReader.HUGGING_FACE.equals(file.metadata().get(ModelReader.LAYOUT)) ? HUGGING_FACE_EPSILON : EPSILON));
    }

    /** The tokens in front; whether positions are theirs too shows in how many there are. */
    private PrefixTokens prefix(int positions, int registers) {
        PrefixTokens all = new PrefixTokens(file.contains("cls_token"), file.contains("dist_token"), registers, true);
        boolean without = root(positions) * root(positions) == positions;
        boolean with = root(positions - all.count()) * root(positions - all.count()) == positions - all.count();
        return without && !with ? new PrefixTokens(all.classToken(), all.distillationToken(), registers, false) : all;
    }

    private Pooling pooling(PrefixTokens prefix) {
        if (file.contains("fc_norm.weight")) {
            return Pooling.MEAN_THEN_NORM;
        }
        return prefix.classToken() ? Pooling.CLASS_TOKEN : Pooling.NORM_THEN_MEAN;
    }

    private int heads(int dim, OptionalInt asked) {
        int usual = switch (dim) {
            // huge, giant and shape-optimised models
            case 1280, 1408, 1152, 1664 -> 16;
            default -> dim % USUAL_HEAD_DIM == 0 ? dim / USUAL_HEAD_DIM : 0;
        };
        int heads = asked.orElseGet(() -> facts.heads().orElse(usual));
        if (heads < 1 || dim % heads != 0) {
            throw new ModelException(file.path() + ": " + (heads < 1 ? "no shape tells the number of attention heads"
                    : heads + " attention heads do not divide tokens of length " + dim) + "; say it with --heads");
        }
        return heads;
    }

    private static int root(int square) {
        return (int) Math.round(Math.sqrt(Math.max(0, square)));
    }

    private static String size(int dim) {
        return switch (dim) {
            case 192 -> "tiny";
            case 384 -> "small";
            case 768 -> "base";
            case 1024 -> "large";
            case 1280 -> "huge";
            default -> "dim" + dim;
        };
    }
}
