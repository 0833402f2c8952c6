package io.github.ptq4vit.model;

import io.github.ptq4vit.tensor.Printable;
import io.github.ptq4vit.tensor.TensorSource;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Which tensors of a file are the model's. A checkpoint of a training script has the weights under a key, often more than once
 * (with an exponential moving average, EMA), beside an optimiser's state; and wrappers put names in front. The patch embedding
 * shows where models begin.
 *
 * @param key what is in front of the model's names, with a dot at the end, or nothing
 * @param names for each name without that and without wrappers, the tensor's name in the file
 * @param other keys of further models in the file
 * @param unused names of tensors that belong to no model
 */
record WeightsInFile(String key, Map<String, String> names, List<String> other, List<String> unused) {
    /** What DistributedDataParallel, torch.compile, FSDP, activation checkpointing, DeepSpeed and AveragedModel put in front. */
    private static final Set<String> WRAPPERS = Set.of("module", "_orig_mod", "_fsdp_wrapped_module",
            "_checkpoint_wrapped_module", "_forward_module");
    /** The weights of patch embeddings, as every layout calls them. */
    private static final Pattern PATCHES = Pattern.compile("(.*?)(?:patch_embed\\.proj(?:ection)?|embeddings\\.patch_embeddings"
            + "\\.projection|conv_proj|features\\.0\\.0|patch_embedding|transformer\\.embeddings\\.patch_embeddings)\\.weight");
    /** A classifier, which is not always beside the rest. */
    private static final Pattern CLASSIFIER = Pattern.compile(
            "(?:heads?|classifier|cls_classifier|distillation_classifier|head_dist|fc)\\..*");
    private static final Pattern EMA = Pattern.compile("(?:.*[._])?(?:ema|averaged)(?:[._].*)?");
    /** The order of timm (load_state_dict), and the keys of other scripts. */
    private static final List<String> ORDER = List.of("state_dict_ema", "model_ema", "state_dict", "model");
    private static final int LISTED = 4;

    /**
     * Looks for the weights.
     *
     * @param wanted the key to take
     * @throws ModelException if there are several models and none is the usual one, or none under the key
     */
    static WeightsInFile of(TensorSource source, Optional<String> wanted) {
        Map<String, String> plain = new LinkedHashMap<>();
        Set<String> keys = new LinkedHashSet<>();
        for (String original : source.names()) {
            String name = withoutWrappers(original);
            String earlier = plain.putIfAbsent(name, original);
            if (earlier != null) {
                throw new ModelException(source.path() + ": " + shown(earlier) + " and " + shown(original)
                        + " are the same tensor; choose with --weights-key, or save the model's state_dict() alone");
            }
            Matcher patches = PATCHES.matcher(name);
            if (patches.matches()) {
                keys.add(patches.group(1));
            }
        }
        String key = choose(source, keys, wanted.map(text -> withoutWrappers(text.endsWith(".") ? text : text + ".")));
        Map<String, String> names = below(key, plain);
        if (!key.isEmpty() && names.keySet().stream().noneMatch(name -> CLASSIFIER.matcher(name).matches())) {
            names.putAll(classifierAbove(key, plain));
        }
        Set<String> taken = new LinkedHashSet<>(names.values());
        List<String> other = keys.stream().filter(one -> !one.equals(key)).map(WeightsInFile::shownKey).toList();
        List<String> unused = new ArrayList<>();
        plain.forEach((name, original) -> {
            if (!taken.contains(original) && keys.stream().noneMatch(one -> !one.equals(key) && name.startsWith(one))) {
                unused.add(original);
            }
        });
        return new WeightsInFile(key, names, other, unused);
    }

    private static String choose(TensorSource source, Set<String> keys, Optional<String> wanted) {
        if (keys.isEmpty() && wanted.isEmpty()) {
            return "";
        }
        Collection<String> possible = wanted.isEmpty() ? keys : keys.stream().filter(key -> key.startsWith(wanted.get())).toList();
        if (possible.isEmpty()) {
            throw new ModelException(source.path() + ": has no model under " + shownKey(wanted.orElse(""))
                    + (keys.isEmpty() ? "; it has " + ModelReader.listed(new TreeSet<>(source.names())) : "; --weights-key can be "
                    + String.join(", ", keys.stream().map(WeightsInFile::shownKey).toList())));
        }
        int best = possible.stream().mapToInt(WeightsInFile::rank).min().orElseThrow();
        List<String> first = possible.stream().filter(key -> rank(key) == best).sorted(Comparator.comparingInt(String::length)).toList();
        if (first.size() > 1) {
            throw new ModelException(source.path() + ": has several models, choose one with --weights-key: "
                    + String.join(", ", keys.stream().map(WeightsInFile::shownKey).toList()));
        }
        return first.get(0);
    }

    private static int rank(String key) {
        int usual = ORDER.indexOf(key.split("\\.", 2)[0]);
        return usual == 0 || usual == 1 ? usual : isEma(key) ? 2 : usual >= 0 ? 1 + usual : key.isEmpty() ? 3 : 5;
    }

    private static boolean isEma(String key) {
        return EMA.matcher(key.endsWith(".") ? key.substring(0, key.length() - 1) : key).matches();
    }

    private static Map<String, String> below(String key, Map<String, String> plain) {
        Map<String, String> names = new LinkedHashMap<>();
        plain.forEach((name, original) -> {
            if (name.startsWith(key)) {
                names.put(name.substring(key.length()), original);
            }
        });
        return names;
    }

    /** {@code classifier} beside {@code vit.}, or {@code model.head} above {@code model.backbone.}. */
    private static Map<String, String> classifierAbove(String key, Map<String, String> plain) {
        String above = key;
        while (!above.isEmpty()) {
            above = above.substring(0, above.lastIndexOf('.', above.length() - 2) + 1);
            Map<String, String> names = below(above, plain);
            names.keySet().removeIf(name -> !CLASSIFIER.matcher(name).matches());
            if (!names.isEmpty()) {
                return names;
            }
        }
        return Map.of();
    }

    /** What was taken and what was not, in a line each; nothing if the file is nothing but the model. */
    List<String> notes(Collection<String> alsoUnused) {
        List<String> notes = new ArrayList<>();
        if (isEma(key) || !other.isEmpty()) {
            notes.add("weights: " + shownKey(key) + (isEma(key) ? ", the exponential moving average (EMA)," : "") + " of the file"
                    + (other.isEmpty() ? "" : "; it also has " + String.join(", ", other) + ", which --weights-key chooses"));
        }
        List<String> all = new ArrayList<>(unused);
        all.addAll(alsoUnused);
        if (!all.isEmpty()) {
            notes.add("not used: " + all.size() + (all.size() == 1 ? " tensor that is" : " tensors that are")
                    + " no part of the model, such as " + String.join(", ", all.stream().limit(LISTED).map(WeightsInFile::shown).toList()));
        }
        return notes;
    }

    private static String withoutWrappers(String name) {
        if (WRAPPERS.stream().noneMatch(name::contains)) {
            return name;
        }
        return String.join(".", Arrays.stream(name.split("\\.", -1)).filter(part -> !WRAPPERS.contains(part)).toList());
    }

    private static String shownKey(String key) {
        return key.isEmpty() ? "the top of the file" : shown(key.endsWith(".") ? key.substring(0, key.length() - 1) : key);
    }

    private static String shown(String name) {
        return Printable.of(name);
    }
}
