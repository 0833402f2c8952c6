package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.RenamedTensors;
import io.github.ptq4vit.tensor.TensorSource;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Tensors under the names by which this library knows them: those of timm 0.4, whose Swin has the merging at the end of a
 * stage. Understands those of newer timm and of the authors' repositories, of Hugging Face's transformers before and from
 * version 5, of torchvision, and of mmpretrain, jeonsworld/ViT-pytorch and pytorch-pretrained-vit. Names that nothing is known
 * of stay as they are.
 */
final class TimmNames {
    private static final String BLOCK = "((?:layers\\.\\d+\\.)?blocks\\.\\d+)\\.";

    /** Whatever comes before: a classifier of one linear layer, wherever it is; queries, keys and values apart. */
    private static final Rules COMMON = new Rules(List.of(
            Rule.of("(?:heads?|classifier|cls_classifier|fc)(?:\\.(?:head|fc|layers\\.head))?(?:\\.\\d+)*\\.(weight|bias)", "head.$1"),
            Rule.of("distillation_classifier(?:\\.\\d+)*\\.(weight|bias)", "head_dist.$1"),
            Rule.of("heads\\.pre_logits\\.(.*)", "pre_logits.fc.$1"),
            Rule.of(BLOCK + "gamma_([12])", "$1.ls$2.gamma"),
            Rule.of(BLOCK + "mlp\\.w12\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of(BLOCK + "mlp\\.w3\\.(.*)", "$1.mlp.fc2.$2"),
            Rule.of(BLOCK + "attn\\.(?:[qkv]|[qkv]_proj|proj_[qkv]|to_[qkv]|query|key|value)\\.(.*)", "$1.attn.qkv.$2")));

    private static final Rules HUGGING_FACE = new Rules(List.of(
            Rule.of("embeddings\\.cls_token", "cls_token"),
            Rule.of("embeddings\\.distillation_token", "dist_token"),
            Rule.of("embeddings\\.position_embeddings", "pos_embed"),
            Rule.of("embeddings\\.patch_embeddings\\.projection\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("embeddings\\.norm\\.(.*)", "patch_embed.norm.$1"),
            Rule.of("(?:encoder\\.)?(layers\\.\\d+\\.(?:blocks|downsample)\\..*)", "$1"),
            Rule.of("(?:encoder\\.)?layers?\\.(\\d+)\\.(.*)", "blocks.$1.$2"),
            Rule.of("(?:layernorm|layer_norm)\\.(.*)", "norm.$1")),
            List.of(
            Rule.of(BLOCK + "attention\\.(?:attention\\.|self\\.)?(?:query|key|value|[qkv]_proj|qkv)\\.(.*)", "$1.attn.qkv.$2"),
            Rule.of(BLOCK + "attention\\.(?:.*\\.)?(relative_position.*)", "$1.attn.$2"),
            Rule.of(BLOCK + "attention\\.(?:output\\.dense|o_proj|out_proj|proj)\\.(.*)", "$1.attn.proj.$2"),
            Rule.of(BLOCK + "(?:intermediate\\.dense|mlp\\.fc1)\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of(BLOCK + "(?:output\\.dense|mlp\\.fc2)\\.(.*)", "$1.mlp.fc2.$2"),
            Rule.of(BLOCK + "(?:layernorm_before|layer_norm1)\\.(.*)", "$1.norm1.$2"),
            Rule.of(BLOCK + "(?:layernorm_after|layer_norm2)\\.(.*)", "$1.norm2.$2")));

    private static final Rules TORCHVISION_VIT = new Rules(List.of(
            Rule.of("class_token", "cls_token"),
            Rule.of("encoder\\.pos_embedding", "pos_embed"),
            Rule.of("conv_proj\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("encoder\\.ln\\.(.*)", "norm.$1"),
            Rule.of("encoder\\.layers\\.encoder_layer_(\\d+)\\.(.*)", "blocks.$1.$2")),
            List.of(
            Rule.of(BLOCK + "ln_([12])\\.(.*)", "$1.norm$2.$3"),
            Rule.of(BLOCK + "self_attention\\.in_proj_(.*)", "$1.attn.qkv.$2"),
            Rule.of(BLOCK + "self_attention\\.out_proj\\.(.*)", "$1.attn.proj.$2"),
            Rule.of(BLOCK + "mlp\\.(?:0|linear_1)\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of(BLOCK + "mlp\\.(?:3|linear_2)\\.(.*)", "$1.mlp.fc2.$2")));

    private static final Rules TORCHVISION_SWIN = new Rules(List.of(
            Rule.of("features\\.0\\.0\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("features\\.0\\.2\\.(.*)", "patch_embed.norm.$1"),
            Rule.of("(features\\.\\d+\\.\\d+)\\.mlp\\.0\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of("(features\\.\\d+\\.\\d+)\\.mlp\\.3\\.(.*)", "$1.mlp.fc2.$2")));

    private static final Rules MMPRETRAIN = new Rules(List.of(
            Rule.of("patch_embed\\.projection\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("layers\\.(\\d+)\\.(?!blocks|downsample)(.*)", "blocks.$1.$2"),
            Rule.of("(?:ln1|norm1)\\.(.*)", "norm.$1")),
            List.of(
            Rule.of(BLOCK + "(?:ln|norm)([12])\\.(.*)", "$1.norm$2.$3"),
            Rule.of(BLOCK + "ffn\\.layers\\.0\\.0\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of(BLOCK + "ffn\\.layers\\.1\\.(.*)", "$1.mlp.fc2.$2"),
            Rule.of(BLOCK + "attn\\.gamma1\\.weight", "$1.ls1.gamma"),
            Rule.of(BLOCK + "ffn\\.gamma2\\.weight", "$1.ls2.gamma")));

    private static final Rules JEONSWORLD = new Rules(List.of(
            Rule.of("transformer\\.embeddings\\.cls_token", "cls_token"),
            Rule.of("transformer\\.embeddings\\.position_embeddings", "pos_embed"),
            Rule.of("transformer\\.embeddings\\.patch_embeddings\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("transformer\\.encoder\\.encoder_norm\\.(.*)", "norm.$1"),
            Rule.of("transformer\\.encoder\\.layer\\.(\\d+)\\.(.*)", "blocks.$1.$2")),
            List.of(
            Rule.of(BLOCK + "attention_norm\\.(.*)", "$1.norm1.$2"),
            Rule.of(BLOCK + "ffn_norm\\.(.*)", "$1.norm2.$2"),
            Rule.of(BLOCK + "ffn\\.(.*)", "$1.mlp.$2"),
            Rule.of(BLOCK + "attn\\.(?:query|key|value)\\.(.*)", "$1.attn.qkv.$2"),
            Rule.of(BLOCK + "attn\\.out\\.(.*)", "$1.attn.proj.$2")));

    private static final Rules PRETRAINED_VIT = new Rules(List.of(
            Rule.of("class_token", "cls_token"),
            Rule.of("positional_embedding\\.pos_embedding", "pos_embed"),
            Rule.of("patch_embedding\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("transformer\\.blocks\\.(\\d+)\\.(.*)", "blocks.$1.$2")),
            List.of(
            Rule.of(BLOCK + "attn\\.proj_[qkv]\\.(.*)", "$1.attn.qkv.$2"),
            Rule.of(BLOCK + "proj\\.(.*)", "$1.attn.proj.$2"),
            Rule.of(BLOCK + "pwff\\.(.*)", "$1.mlp.$2")));

    private static final Pattern STAGE = Pattern.compile("features\\.(\\d+)\\.(.*)");
    private static final Pattern MERGING = Pattern.compile("layers\\.(\\d+)\\.downsample\\.(.*)");
    /** Queries, keys or values alone. */
    private static final Pattern PART = Pattern.compile("(?:.*\\.)(?:to_|proj_)?([qkv])(?:_proj|uery|ey|alue)?\\.[a-z]+");

    private TimmNames() {
    }

    /** The same tensors; closing them closes the source. */
    static RenamedTensors of(TensorSource source, WeightsInFile weights) {
        Set<String> names = weights.names().keySet();
        boolean torchvisionSwin = names.contains("features.0.0.weight");
        boolean torchvisionVit = names.contains("conv_proj.weight");
        boolean huggingFace = names.contains("embeddings.patch_embeddings.projection.weight");
        Rules rules = huggingFace ? HUGGING_FACE : torchvisionSwin ? TORCHVISION_SWIN : torchvisionVit ? TORCHVISION_VIT
                : names.contains("patch_embed.projection.weight") ? MMPRETRAIN
                : names.contains("transformer.embeddings.patch_embeddings.weight") ? JEONSWORLD
                : names.contains("patch_embedding.weight") ? PRETRAINED_VIT : new Rules();
        boolean mergesFirst = names.stream().anyMatch(name -> name.startsWith("layers.1.downsample."))
                && !names.contains("layers.0.downsample.reduction.weight");
        Map<String, List<String>> parts = new LinkedHashMap<>();
        weights.names().forEach((plain, original) -> {
            String name = rules.apply(COMMON.apply(plain));
            if (torchvisionSwin) {
                name = stage(name);
            }
            if (mergesFirst) {
                name = afterTheStageBefore(name);
            }
            parts.computeIfAbsent(name, key -> new ArrayList<>()).add(original);
        });
        parts.forEach((name, originals) -> inOrder(source, name, originals));
        Map<String, String> facts = new LinkedHashMap<>(source.metadata());
        facts.putIfAbsent(ModelReader.LAYOUT, huggingFace ? ModelReader.HUGGING_FACE
                : torchvisionSwin || torchvisionVit ? ModelReader.TORCHVISION : ModelReader.TIMM);
        return new RenamedTensors(source, parts, facts);
    }

    /** Queries, keys and values that come apart go one behind the other; nothing else may share a name. */
    private static void inOrder(TensorSource source, String name, List<String> originals) {
        boolean apart = name.contains(".attn.qkv.") && PART.matcher(originals.get(0)).matches();
        if (originals.size() == 1 && !apart) {
            return;
        }
        List<String> ordered = new ArrayList<>();
        for (String part : List.of("q", "k", "v")) {
            originals.stream().filter(original -> {
                Matcher matcher = PART.matcher(original);
                return matcher.matches() && matcher.group(1).equals(part);
            }).forEach(ordered::add);
        }
        if (name.startsWith("head.")) {
            throw new ModelException(source.path() + ": its classifier is more than one linear layer ("
                    + String.join(", ", originals) + "), which is not supported");
        }
        if (!apart) {
            throw new ModelException(source.path() + ": " + String.join(" and ", originals)
                    + " are the same tensor of the model; choose with --weights-key, or save the model's state_dict() alone");
        }
        if (ordered.size() != 3 || originals.size() != 3) {
            throw new ModelException(source.path() + ": queries, keys and values of a block belong together, but found are only "
                    + String.join(", ", originals));
        }
        originals.clear();
        originals.addAll(ordered);
    }

    /** torchvision counts embedding, stages and mergings alike. */
    private static String stage(String name) {
        Matcher feature = STAGE.matcher(name);
        if (!feature.matches()) {
            return name;
        }
        int number = Integer.parseInt(feature.group(1)) - 1;
        return "layers." + number / 2 + (number % 2 == 0 ? ".blocks." : ".downsample.") + feature.group(2);
    }

    /** Newer timm has the merging at the beginning of the next stage. */
    private static String afterTheStageBefore(String name) {
        Matcher merging = MERGING.matcher(name);
        return merging.matches()
                ? "layers." + (Integer.parseInt(merging.group(1)) - 1) + ".downsample." + merging.group(2) : name;
    }

    /** A pattern of a whole name and what takes its place. */
    private record Rule(Pattern pattern, String replacement) {
        static Rule of(String pattern, String replacement) {
            return new Rule(Pattern.compile(pattern), replacement);
        }
    }

    /** Lists of rules one after the other; of each list the first that matches is applied. */
    private static final class Rules {
        private final List<List<Rule>> steps;

        /** The array is only read. */
        @SafeVarargs
        @SuppressWarnings("varargs")
        Rules(List<Rule>... steps) {
            this.steps = List.of(steps);
        }

        String apply(String original) {
            String name = original;
            for (List<Rule> rules : steps) {
                for (Rule rule : rules) {
                    Matcher matcher = rule.pattern.matcher(name);
                    if (matcher.matches()) {
                        name = matcher.replaceFirst(rule.replacement);
                        break;
                    }
                }
            }
            return name;
        }
    }
}
