package io.github.ptq4vit.image;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.github.ptq4vit.tensor.Printable;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What classes are called: WordNet ids (wnids) or names, by the order of a file of synsets. Read are lines such as
 * {@code n01440764 tench, Tinca tinca}, {@code tench} or {@code 0 tench}; and JSON: a list, {@code {"0": ["n01440764", "tench"]}},
 * {@code {"tench": 0}}, or a {@code config.json} of transformers.
 */
public final class ClassNames {
    /** No names. */
    public static final ClassNames NONE = new ClassNames(Map.of(), 0);
    private static final Pattern WNID = Pattern.compile("(n\\d{8})(?:[\\s,:]+(.*))?");
    private static final Pattern NUMBERED = Pattern.compile("(\\d{1,6})[\\s,:]+(.+)");
    /** More than one class has this name. */
    private static final int AMBIGUOUS = -1;

    private final Map<String, Integer> indexOf;
    private final int count;

    private ClassNames(Map<String, Integer> indexOf, int count) {
        this.indexOf = indexOf;
        this.count = count;
    }

    /**
     * Reads a file.
     *
     * @param classes of the model, as many as the file must name
     * @throws ImageException if it cannot be read or names other classes
     */
    public static ClassNames read(Path file, int classes) {
        Map<String, Integer> indexOf = new HashMap<>();
        List<String> lines = TextLines.read(file, "the synsets");
        String first = lines.stream().map(String::strip).filter(line -> !line.isEmpty()).findFirst().orElse("");
        int count = first.startsWith("{") || first.startsWith("[") ? json(file, String.join("\n", lines), indexOf) : text(lines, indexOf);
        if (count != classes) {
            throw new ImageException("The synsets in " + file + " are " + count + " classes, but the model has " + classes);
        }
        return new ClassNames(Map.copyOf(indexOf), count);
    }

    private static int text(List<String> lines, Map<String, Integer> indexOf) {
        List<String> named = lines.stream().map(String::strip).filter(line -> !line.isEmpty()).toList();
        boolean numbered = named.stream().allMatch(line -> NUMBERED.matcher(line).matches());
        int count = 0;
        for (int i = 0; i < named.size(); i++) {
            Matcher number = NUMBERED.matcher(named.get(i));
            boolean own = numbered && number.matches();
            int index = own ? Integer.parseInt(number.group(1)) : i;
            put(own ? number.group(2) : named.get(i), index, indexOf);
            count = Math.max(count, index + 1);
        }
        return count;
    }

    private static int json(Path file, String text, Map<String, Integer> indexOf) {
        JsonNode root;
        try {
            root = new JsonMapper().readTree(text);
        } catch (JsonProcessingException e) {
            throw new ImageException("The synsets in " + file + " are no JSON, though they begin like it", e);
        }
        JsonNode classes = root.path("id2label").isObject() ? root.get("id2label")
                : root.path("label2id").isObject() ? root.get("label2id") : root;
        int count = 0;
        int position = 0;
        for (Map.Entry<String, JsonNode> entry : classes.isObject() ? classes.properties() : Map.<String, JsonNode>of().entrySet()) {
            boolean byName = entry.getValue().isIntegralNumber();
            int index = byName ? entry.getValue().intValue() : entry.getKey().matches("\\d{1,6}") ? Integer.parseInt(entry.getKey()) : -1;
            if (index < 0) {
                throw new ImageException("The synsets in " + file + " have \"" + Printable.of(entry.getKey())
                        + "\" where a class index or its name is expected");
            }
            if (byName) {
                put(entry.getKey(), index, indexOf);
            } else {
                putAll(entry.getValue(), index, indexOf);
            }
            count = Math.max(count, index + 1);
        }
        if (classes.isArray()) {
            for (JsonNode one : classes) {
                putAll(one, position++, indexOf);
            }
        }
        return Math.max(count, position);
    }

    private static void putAll(JsonNode names, int index, Map<String, Integer> indexOf) {
        if (names.isArray()) {
            names.forEach(name -> put(name.asText(), index, indexOf));
        } else {
            put(names.asText(), index, indexOf);
        }
    }

    /** A wnid, a name, and each of several names with commas between. */
    private static void put(String text, int index, Map<String, Integer> indexOf) {
        Matcher wnid = WNID.matcher(text.strip());
        String name = text;
        if (wnid.matches()) {
            once(wnid.group(1), index, indexOf);
            name = wnid.group(2) == null ? "" : wnid.group(2);
        }
        once(name, index, indexOf);
        if (name.contains(",")) {
            for (String one : name.split(",")) {
                once(one, index, indexOf);
            }
        }
    }

    private static void once(String name, int index, Map<String, Integer> indexOf) {
        String plain = plain(name);
        if (!plain.isEmpty()) {
            indexOf.merge(plain, index, (earlier, later) -> earlier.equals(later) ? earlier : AMBIGUOUS);
        }
    }

    private static String plain(String name) {
        return name.strip().toLowerCase(Locale.ROOT).replace('_', ' ').replace('-', ' ');
    }

    /** The index of the class of this name, if exactly one has it. */
    OptionalInt index(String name) {
        Integer index = indexOf.get(plain(name));
        return index == null || index == AMBIGUOUS ? OptionalInt.empty() : OptionalInt.of(index);
    }

    /** Whether there are any names. */
    boolean isEmpty() {
        return count == 0;
    }
}
