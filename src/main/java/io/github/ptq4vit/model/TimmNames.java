package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.RenamedTensors;
import io.github.ptq4vit.tensor.TensorSource;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Tensors under the names by which this library knows them: those of timm 0.4, whose Swin has the merging at the end of a
 * stage. Understands those of newer timm, of Hugging Face's transformers and of torchvision. Names that nothing is known of
 * stay as they are.
 */
final class TimmNames {
    private static final Rules TIMM = new Rules(List.of(
            Rule.of("head\\.fc\\.(weight|bias)", "head.$1")));

    private static final Rules HUGGING_FACE = new Rules(List.of(
            Rule.of("(?:vit|deit)\\.embeddings\\.cls_token", "cls_token"),
            Rule.of("deit\\.embeddings\\.distillation_token", "dist_token"),
            Rule.of("(?:vit|deit)\\.embeddings\\.position_embeddings", "pos_embed"),
            Rule.of("(?:vit|deit|swin)\\.embeddings\\.patch_embeddings\\.projection\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("swin\\.embeddings\\.norm\\.(.*)", "patch_embed.norm.$1"),
            Rule.of("(?:vit|deit)\\.encoder\\.layer\\.(\\d+)\\.(.*)", "blocks.$1.$2"),
            Rule.of("swin\\.encoder\\.layers\\.(\\d+)\\.(.*)", "layers.$1.$2"),
            Rule.of("(?:vit|deit|swin)\\.layernorm\\.(.*)", "norm.$1"),
            Rule.of("(?:classifier|cls_classifier)\\.(.*)", "head.$1"),
            Rule.of("distillation_classifier\\.(.*)", "head_dist.$1")),
            List.of(
            Rule.of("(.*blocks\\.\\d+)\\.attention\\.(?:attention|self)\\.query\\.(.*)", "$1.attn.qkv.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.attention\\.(?:attention|self)\\.key\\.(.*)", "$1.attn.qkv.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.attention\\.(?:attention|self)\\.value\\.(.*)", "$1.attn.qkv.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.attention\\.self\\.(relative_position.*)", "$1.attn.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.attention\\.output\\.dense\\.(.*)", "$1.attn.proj.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.intermediate\\.dense\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.output\\.dense\\.(.*)", "$1.mlp.fc2.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.layernorm_before\\.(.*)", "$1.norm1.$2"),
            Rule.of("(.*blocks\\.\\d+)\\.layernorm_after\\.(.*)", "$1.norm2.$2")));

    private static final Rules TORCHVISION_VIT = new Rules(List.of(
            Rule.of("class_token", "cls_token"),
            Rule.of("encoder\\.pos_embedding", "pos_embed"),
            Rule.of("conv_proj\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("encoder\\.ln\\.(.*)", "norm.$1"),
            Rule.of("heads\\.head\\.(.*)", "head.$1"),
            Rule.of("heads\\.pre_logits\\.(.*)", "pre_logits.fc.$1"),
            Rule.of("encoder\\.layers\\.encoder_layer_(\\d+)\\.(.*)", "blocks.$1.$2")),
            List.of(
            Rule.of("(blocks\\.\\d+)\\.ln_([12])\\.(.*)", "$1.norm$2.$3"),
            Rule.of("(blocks\\.\\d+)\\.self_attention\\.in_proj_(.*)", "$1.attn.qkv.$2"),
            Rule.of("(blocks\\.\\d+)\\.self_attention\\.out_proj\\.(.*)", "$1.attn.proj.$2"),
            Rule.of("(blocks\\.\\d+)\\.mlp\\.(?:0|linear_1)\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of("(blocks\\.\\d+)\\.mlp\\.(?:3|linear_2)\\.(.*)", "$1.mlp.fc2.$2")));

    private static final Rules TORCHVISION_SWIN = new Rules(List.of(
            Rule.of("features\\.0\\.0\\.(.*)", "patch_embed.proj.$1"),
            Rule.of("features\\.0\\.2\\.(.*)", "patch_embed.norm.$1"),
            Rule.of("(features\\.\\d+\\.\\d+)\\.mlp\\.0\\.(.*)", "$1.mlp.fc1.$2"),
            Rule.of("(features\\.\\d+\\.\\d+)\\.mlp\\.3\\.(.*)", "$1.mlp.fc2.$2")));

    private static final Pattern STAGE = Pattern.compile("features\\.(\\d+)\\.(.*)");
    private static final Pattern MERGING = Pattern.compile("layers\\.(\\d+)\\.downsample\\.(.*)");

    private TimmNames() {
    }

    /** The same tensors; closing them closes the source. */
    static TensorSource of(TensorSource source) {
        boolean mergesFirst = source.names().stream().anyMatch(name -> name.startsWith("layers.1.downsample."))
                && !source.contains("layers.0.downsample.reduction.weight");
        boolean torchvisionSwin = source.contains("features.0.0.weight");
        Map<String, List<String>> parts = new LinkedHashMap<>();
        for (String original : source.names()) {
            String name = HUGGING_FACE.apply(TIMM.apply(original));
            if (source.contains("conv_proj.weight")) {
                name = TORCHVISION_VIT.apply(name);
            }
            if (torchvisionSwin) {
                name = stage(TORCHVISION_SWIN.apply(name));
            }
            if (mergesFirst) {
                name = afterTheStageBefore(name);
            }
            parts.computeIfAbsent(name, key -> new ArrayList<>()).add(original);
        }
        parts.forEach((name, originals) -> inOrder(source, name, originals));
        boolean huggingFace = source.names().stream().anyMatch(name -> name.contains(".embeddings.patch_embeddings."));
        Map<String, String> facts = new LinkedHashMap<>(source.metadata());
        facts.putIfAbsent(ModelReader.LAYOUT, huggingFace ? "hugging-face"
                : torchvisionSwin || source.contains("conv_proj.weight") ? "torchvision" : "timm");
        return new RenamedTensors(source, parts, facts);
    }

    /** Queries, keys and values that come apart go one behind the other; nothing else may share a name. */
    private static void inOrder(TensorSource source, String name, List<String> originals) {
        if (originals.size() == 1 && !originals.get(0).matches(".*\\.(query|key|value)\\.[a-z]+")) {
            return;
        }
        List<String> ordered = new ArrayList<>();
        for (String part : List.of(".query.", ".key.", ".value.")) {
            originals.stream().filter(original -> original.contains(part)).forEach(ordered::add);
        }
        if (ordered.isEmpty()) {
            throw new ModelException(source.path() + ": " + String.join(" and ", originals) + " are the same tensor, " + name);
        }
        if (ordered.size() != 3 || originals.size() != 3) {
            throw new ModelException(source.path() + ": " + name + " is made of queries, keys and values, but found are "
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

        @SafeVarargs
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
